"""Teacher targets as a data type of ESPnet's loader."""

from __future__ import annotations

from pathlib import Path

from distill_asr.targets.reader import TargetReader


def load_targets(path: str) -> TargetReader:
    """Targets by utterance id.

    Parameters
    ----------
    path : a text file with one target directory a line (several sets trained together).
    """
    directories = Path(path).read_text(encoding="utf-8").splitlines()
    return TargetReader([line for line in directories if line])
