"""What students compute for chosen utterances: CTC posteriors, weights of CIF and where it fires.

Legend: T frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distill_asr.decode.greedy import step_ms
from distill_asr.decode.search import encode
from distill_asr.decode.speech import read_speech
from distill_asr.experiments.student import load_student
from distill_asr.models.students.cif import CIFStudent

SEEN = 0.1  # probability from which on a token has a row
MOST_ROWS = 24
_BLANK = 0  # of ESPnet's CTC


@dataclass(frozen=True)
class Picture:
    """One student, one utterance.

    Parameters
    ----------
    step_ms : duration of a frame.
    tokens, probabilities : rows of the CTC picture, the blank last: ``[rows][T]``, two digits.
    weights : ``[T]``, of CIF.
    fires : frames in which CIF fires.
    """

    step_ms: float
    tokens: list[str]
    probabilities: list[list[float]]
    weights: list[float]
    fires: list[int]


def paint(directory: Path, audio: Sequence[tuple[str, str]]) -> dict[str, Picture]:
    """Pictures of some utterances by one experiment; empty for a student with neither.

    Parameters
    ----------
    directory : the experiment.
    audio : utterance and its file.

    Raises
    ------
    UserError : the model cannot be loaded, audio that cannot be read.
    """
    student, config = load_student(directory)
    if student.ctc is None and not isinstance(student, CIFStudent):
        return {}
    step, found = step_ms(student, config.rate), {}
    for utterance, file in audio:
        speech = read_speech(utterance, file, config.rate)
        found[utterance] = _picture(student, config.token_list, speech, step)
    return found


def shown_rows(probabilities: np.ndarray, tokens: Sequence[str]) -> tuple[list[str], list[int]]:
    """Rows of a picture, likely tokens as they come, then the blank: their names, their ids.

    Parameters
    ----------
    probabilities : [T, V].
    tokens : V names.
    """
    peaks = probabilities.max(axis=0)
    likely = [i for i in np.flatnonzero(peaks >= SEEN).tolist() if i != _BLANK]
    likely = sorted(likely, key=lambda i: -peaks[i])[:MOST_ROWS]
    likely.sort(key=lambda i: int(probabilities[:, i].argmax()))
    rows = [*likely, _BLANK]
    return [tokens[i] for i in rows], rows


@torch.inference_mode()
def _picture(student: nn.Module, tokens: Sequence[str], speech: np.ndarray, step: float) -> Picture:
    encoded = encode(student, torch.from_numpy(speech))[None]  # [1, T, D]
    names: list[str] = []
    rows: list[list[float]] = []
    if student.ctc is not None and encoded.size(1):
        posteriors: Any = student.ctc.log_softmax(encoded)[0].exp().numpy()
        names, places = shown_rows(posteriors, tokens)
        rows = [[round(float(p), 2) for p in posteriors[:, place]] for place in places]
    weights: list[float] = []
    fires: list[int] = []
    if isinstance(student, CIFStudent) and encoded.size(1):
        lengths = torch.tensor([encoded.size(1)])
        weights = [round(float(w), 3) for w in student.weights(encoded, lengths)[0]]
        fires = student.integrate(encoded, lengths).frames[0].tolist()
    return Picture(step, names, rows, weights, fires)
