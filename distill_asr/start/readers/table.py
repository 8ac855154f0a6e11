"""A folder of audio with a table of texts: CSV, TSV or JSON Lines, as people save them."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems
from distill_asr.start.contract import Clip, Columns, Reader, ReadOptions, Source
from distill_asr.start.readers.audio_folder import report_foreign
from distill_asr.start.readers.columns import HEADERS, guess_columns
from distill_asr.start.readers.folders import SUFFIXES, audio_files, short_names
from distill_asr.start.readers.rows import DELIMITED, JSON_LINES, read_rows

_TABLES = (*(one for one in DELIMITED if one != ".txt"), *JSON_LINES)


class TableReader(Reader):
    """A table, or a folder that holds one beside or above its audio."""

    name = "table"
    summary = "a folder of audio with a CSV, TSV or JSON Lines of texts, or that table"

    def recognises(self, path: Path) -> bool:
        """Whether it is a table, or a folder with tables."""
        if path.is_file():
            return path.suffix.lower() in (*DELIMITED, *JSON_LINES)
        return bool(_tables(path))

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """A clip a row; several tables are splits by their names."""
        tables = [path] if path.is_file() else _tables(path)
        folder = (path.parent if path.is_file() else path).resolve()
        places = AudioPlaces(folder, options.audio_root)
        clips: list[Clip] = []
        notes: list[str] = []
        for one in tables:
            split = one.stem if len(tables) > 1 else None
            found, said = _read_table(one, split, places, options, problems)
            clips += found
            notes += said
        names = short_names([clip.name for clip in clips])
        clips = [
            replace(clip, name=name + _place(clip.audio))
            for clip, name in zip(clips, names, strict=True)
        ]
        used = {clip.audio.location for clip in clips}
        untold = tuple(file for file in places.files if str(file) not in used)
        report_foreign(folder, problems)
        return Source(path, self.name, clips, tuple(notes), untold)


class AudioPlaces:
    """Finds the file that a cell means: a path, a name, with or without ending."""

    def __init__(self, folder: Path, root: Path | None) -> None:
        self.files = audio_files(root.resolve() if root else folder)
        self._roots = [one for one in (root and root.resolve(), folder) if one]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self._by_name[file.name].append(file)
            self._by_name[file.stem].append(file)

    def find(self, cell: str) -> Path | str:
        """The file; else what is wrong."""
        cell = cell.strip()
        if not cell or "\0" in cell:
            return "no path"
        for root in self._roots:
            path = Path(os.path.normpath(root / cell))
            try:
                if path.is_file():
                    return path
            except OSError as error:  # a text, and longer than a name may be
                return str(error.strerror)
        same = self._by_name.get(cell.replace("\\", "/").rpartition("/")[2], [])
        if len(same) == 1:
            return same[0]
        if same:
            return f"{len(same)} files have this name, such as {same[0]} and {same[1]}"
        return f"no such file below {' or '.join(map(str, self._roots))}"

    def is_audio(self, cell: str) -> bool:
        """Whether a cell leads to a file."""
        found = self.find(cell)
        return isinstance(found, Path) and found.suffix.lower() in SUFFIXES


def _place(audio: AudioLocation) -> str:
    """The suffix of a part of a recording: where it begins, in hundredths of a second."""
    whole = audio.start == 0 and audio.end is None
    return "" if whole else f"-{round(audio.start * 100):07d}"


def _tables(folder: Path) -> list[Path]:
    """Tables of a folder; those named after splits where there are such, else all."""
    if not folder.is_dir():
        return []
    found = sorted(
        one
        for one in folder.iterdir()
        if one.suffix.lower() in _TABLES and one.is_file() and not one.name.startswith(".")
    )
    named = [one for one in found if one.stem.lower() in _SPLITS]
    return named or found


_SPLITS = ("train", "training", "dev", "valid", "validation", "test", "eval")


def _read_table(
    path: Path, split: str | None, places: AudioPlaces, options: ReadOptions, problems: Problems
) -> tuple[list[Clip], list[str]]:
    named = {value.lower() for value in vars(options.columns).values() if value is not None}
    table = read_rows(path, options.delimiter, HEADERS | named, places.is_audio, problems)
    if table is None:
        return [], []
    guessed = guess_columns(table, options.columns, places.is_audio, problems)
    if guessed is None:
        return [], []
    columns, notes = guessed
    clips = []
    for line, row in table.rows:
        clip = _clip(f"{path}:{line}", row, columns, split, places, problems)
        if clip is not None:
            clips.append(clip)
    return clips, notes


def _clip(
    where: str,
    row: dict[str, str],
    columns: Columns,
    split: str | None,
    places: AudioPlaces,
    problems: Problems,
) -> Clip | None:
    cells = {part: row.get(name or "", "").strip() for part, name in vars(columns).items()}
    file = places.find(cells["audio"])
    if isinstance(file, str):
        message = f"{where}: {cells['audio']!r}: {file}; correct the cell, remove the row, or "
        message += "name the directory of the audio, --audio-root DIR"
        problems.add("text without audio", message)
        return None
    if not cells["text"]:
        problems.add(
            "no text",
            f"{where}: {cells['audio']}: the cell {columns.text!r} is empty; fill it, or give "
            "--skip-bad",
        )
        return None
    location = _part(where, str(file), cells, columns, problems)
    if location is None:
        return None
    return Clip(
        cells["audio"],
        location,
        where,
        cells["text"],
        cells["speaker"] or None,
        cells["language"] or None,
        cells["split"] or split,
    )


def _part(
    where: str, file: str, cells: dict[str, str], columns: Columns, problems: Problems
) -> AudioLocation | None:
    """The whole file, or from ``start`` to ``end`` (or so long as ``duration``)."""
    try:
        start = float(cells["start"] or 0)
        length = float(cells["duration"] or "inf") if columns.start else math.inf
        end = float(cells["end"] or start + length)
    except ValueError as error:
        problems.add("bad time", f"{where}: {error}; expected seconds")
        return None
    if not 0 <= start < end:
        problems.add("bad time", f"{where}: from {start:g} to {end:g} s; expected start < end")
        return None
    return AudioLocation(file, start, None if math.isinf(end) else end)
