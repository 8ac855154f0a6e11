"""Finds what a directory holds: a command writes only into a new one or one of its own."""

from __future__ import annotations

from pathlib import Path

PREPARED, LABELS = "a prepared data directory", "pseudo-labels"
DATA, _TARGETS = "a data directory", "a teacher's targets"
EXPERIMENT, DECODING = "an experiment", "a decoding"
TEACHER, MODEL, RECIPE = "a teacher of `train-teacher`", "a pretrained model", "a recipe"
# files by which a directory is known; where several are there, the first counts
_MARKS = {
    "pseudo_label.json": LABELS,
    "prepare.json": PREPARED,
    "wav/.converted": PREPARED,
    "train.yaml": EXPERIMENT,
    "teacher_report.json": TEACHER,
    "wav.scp": DATA,
    "targets.scp": _TARGETS,
    "nbest.jsonl": DECODING,
    "decode.json": DECODING,
    "text": DATA,
    "utt2spk": DATA,
    "segments": DATA,
    "run.sh": RECIPE,
    "config.json": MODEL,
}


def occupied(directory: Path, own: str, option: str) -> list[str]:
    """Report that a directory holds files of another command, or of the user.

    Parameters
    ----------
    directory : what will be written; it need not exist, and a link is followed.
    own : what the command writes, one of the constants above.
    option : that names the directory, for the message.
    """
    if directory.exists() and not directory.is_dir():
        return [f"{option} {directory}: is a file; give a directory, or a new name"]
    for mark, kind in _MARKS.items():
        if (directory / mark).exists():
            other = f"{option} {directory}: holds {kind} ({mark}); give another directory"
            return [] if kind == own else [other]
    return []
