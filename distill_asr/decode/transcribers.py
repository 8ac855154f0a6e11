"""Writers of pseudo-labels: a student of this package, or a recogniser of transformers.

An utterance's confidence is the log-probability of the path its words come from, divided by the
number of tokens. Blanks count, each frame's for a transducer, each frame's symbol for CTC: they
lower the score very little in silence, and much where a word may have been missed. For a
transducer's beam search, the path is the best alignment of the hypothesis. For recognisers without
blanks (CIF, attention) it is the score of their search, the end token included.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from distill_asr.data.datadir import DataDir
from distill_asr.data.normalise import TranscriptRule
from distill_asr.decode.labels import Label
from distill_asr.decode.speech import read_speech
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.progress import Bar
from distill_asr.io.silence import cut_at_silences
from distill_asr.pretrained.recognisers import Heard, load_recogniser
from distill_asr.teachers.batching import batches_of_audio, grouped
from distill_asr.teachers.config import TeacherConfig


class Transcriber(ABC):
    """Turns the audio of a data directory into labels.

    Attributes
    ----------
    decided_by : checksums and values of all that the words depend on, but the audio.
    rate : of the audio, in Hz.
    """

    decided_by: dict[str, Any]
    rate: int = SAMPLE_RATE

    @abstractmethod
    def labels(self, data: DataDir) -> Iterator[tuple[str, Label]]:
        """A label for each utterance, in any order, as soon as it is ready."""


class PretrainedTranscriber(Transcriber):
    """A recogniser of transformers, as a teacher's file describes it; long audio goes in parts.

    Parameters
    ----------
    rule : what makes a student's transcript of its words.

    Raises
    ------
    UserError : it cannot be loaded.
    """

    def __init__(self, config: TeacherConfig, device: str, rule: TranscriptRule | None) -> None:
        config = config.on(device)
        assert config.batch_seconds is not None  # `on` fills it in
        self.seconds = config.batch_seconds
        self.rule = rule
        self._recogniser = load_recogniser(config.request(), config.language, config.task, device)
        self.decided_by = {
            "recogniser": self._recogniser.fingerprint,
            "language": config.language,
            "task": config.task,
        } | of_transcripts(rule)

    def labels(self, data: DataDir) -> Iterator[tuple[str, Label]]:
        """A label for each utterance; long ones first."""
        with Bar(total=len(data.wav), desc=f"label {data.path}", unit="utt") as bar:
            for batch in batches_of_audio(data.num_samples or {}, data.wav, self.seconds):
                speech = {utt: read_speech(utt, data.wav[utt], SAMPLE_RATE) for utt in batch}
                parts = {
                    (utt, number): waveform[part]
                    for utt, waveform in speech.items()
                    for number, part in enumerate(
                        cut_at_silences(waveform, SAMPLE_RATE, self._recogniser.max_samples)
                    )
                }
                heard = self._heard(parts)
                for utt in batch:
                    yield utt, self._label([heard[key] for key in parts if key[0] == utt])
                bar.update(len(batch))

    def _heard(self, parts: dict[tuple[str, int], np.ndarray]) -> dict[tuple[str, int], Heard]:
        # sizes go by name; the order of equally long parts is theirs
        names = {f"{utt} {number:06d}": (utt, number) for utt, number in parts}
        sizes = {name: len(parts[key]) for name, key in names.items()}
        found: dict[tuple[str, int], Heard] = {}
        for group in grouped(sizes, self.seconds * SAMPLE_RATE):
            keys = [names[name] for name in group]
            answers = self._recogniser.recognise([parts[key] for key in keys])
            found.update(zip(keys, answers, strict=True))
        return found

    def _label(self, parts: list[Heard]) -> Label:
        words = " ".join(" ".join(part.words for part in parts).split())
        tokens = sum(part.tokens for part in parts)
        return Label(
            self.rule(words) if self.rule else words,
            sum(part.score for part in parts) / tokens if tokens else -math.inf,
            all(part.finished for part in parts),
        )


def of_transcripts(rule: TranscriptRule | None) -> dict[str, Any]:
    """What a rule adds to ``decided_by``."""
    return {} if rule is None else {"transcripts": rule.settings()}
