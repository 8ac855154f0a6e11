"""Labels found so far, so that a labelling continues after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import DataDir
from distill_asr.decode.labels import Label
from distill_asr.decode.transcribers import Transcriber
from distill_asr.io.files import write_text_atomic


def hear_all(
    transcriber: Transcriber, data: DataDir, file: Path, made_from: dict[str, Any]
) -> dict[str, Label]:
    """A label for each utterance, sorted by id; those in ``file`` are not made again.

    Parameters
    ----------
    transcriber : makes the labels.
    data : prepared.
    file : JSON lines: what the labels are made from, then a label each. It stays, for the caller
        to remove once the labels lie elsewhere.
    made_from : by the transcriber, with the audio.
    """
    labels = dict(_read(file, made_from))
    if len(labels) < len(data.wav):
        rows = [_row(utt, label) for utt, label in labels.items()]
        # without the half line that a kill may have left
        write_text_atomic(file, "".join([_line(made_from), *rows]))
        with open(file, "a", encoding="utf-8") as stream:
            for utt, label in transcriber.labels(data.select(data.wav.keys() - labels.keys())):
                labels[utt] = label
                stream.write(_row(utt, label))
                stream.flush()
    return dict(sorted(labels.items()))


def _row(utt: str, label: Label) -> str:
    return _line([utt, label.words, label.confidence, label.finished])


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _read(file: Path, made_from: dict[str, Any]) -> Iterator[tuple[str, Label]]:
    """Labels of an unfinished file; none of one that is damaged, or made from something else."""
    try:
        first, *rows = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if json.loads(first) != json.loads(_line(made_from)):
            return
        for row in rows:
            if row.endswith("\n"):
                utt, words, confidence, finished = json.loads(row)
                yield utt, Label(words, confidence, finished)
    except (OSError, ValueError):
        return
