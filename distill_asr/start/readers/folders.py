"""Audio files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .au .snd .w64 .caf .sph .rf64".split()
)
FOREIGN = frozenset(".m4a .aac .wma .webm .mp4 .amr .g722 .3gp .mka".split())  # not read here


def audio_files(folder: Path) -> list[Path]:
    """All of them, sorted; hidden files and folders are left out."""
    return sorted(path for path in _walk(folder) if path.suffix.lower() in SUFFIXES)


def foreign_files(folder: Path) -> list[Path]:
    """Recordings in formats that libsndfile does not read."""
    return sorted(path for path in _walk(folder) if path.suffix.lower() in FOREIGN)


def has_audio(folder: Path) -> bool:
    """Whether there is a recording; stops at the first."""
    known = SUFFIXES | FOREIGN
    return any(path.suffix.lower() in known for path in _walk(folder))


def short_names(paths: Sequence[str]) -> list[str]:
    """What to call recordings: their files' names where those differ, else their paths."""
    plain = [path.replace("\\", "/") for path in paths]
    bare = [
        path[: -len(end)] if (end := Path(path).suffix).lower() in SUFFIXES else path
        for path in plain
    ]
    names = [path.rpartition("/")[2] for path in bare]
    files = dict(zip(bare, names, strict=True))
    return names if len(set(files.values())) == len(files) else bare


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links can lead in circles
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                yield Path(place) / name
