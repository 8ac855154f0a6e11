"""Rows of CSV, TSV and JSON Lines as people save them, with where they stand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill_asr.errors import Problems

JSON_LINES = (".jsonl", ".ndjson", ".json")
DELIMITED = (".csv", ".tsv", ".psv", ".txt")
DELIMITERS = ("\t", "|", ";", ",")  # what texts have least goes first
_LOOKED_AT = 200  # rows that decide about delimiter and quotes
Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
_QUOTINGS: tuple[Quoting, ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


@dataclass(frozen=True)
class Table:
    """A table in memory.

    Parameters
    ----------
    names : of the columns; numbers from 1 where the file has no header.
    rows : line, and cells by column.
    headed : the first line names the columns.
    form : how it was read, for notes.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    headed: bool
    form: str


def read_rows(
    path: Path,
    delimiter: str | None,
    known: frozenset[str],
    is_audio: Callable[[str], bool],
    problems: Problems,
) -> Table | None:
    """The whole table, None where it cannot be read.

    Parameters
    ----------
    path : CSV, TSV or JSON Lines, by its suffix.
    delimiter : None is guessed.
    known : names of columns, lower case, that show that a first line is a header.
    is_audio : whether a cell leads to an audio file; a header has no such cell.
    problems : gets bad rows.
    """
    text = _text(path, problems)
    if text is None:
        return None
    if path.suffix.lower() in JSON_LINES:
        return _json_rows(path, text, problems)
    return _delimited(path, text, delimiter, known, is_audio, problems)


def _text(path: Path, problems: Problems) -> str | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.add("unreadable table", f"{path}: {error.strerror}")
        return None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problems.add(
            "not UTF-8",
            f"{path}:{line}: byte 0x{content[error.start]:02x}; save it as UTF-8 "
            "(`iconv -f WINDOWS-1252 -t UTF-8`)",
        )
        return None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        problems.add(
            "unreadable table",
            f"{path}:{line}: it has a NUL character, so it is not text; save it as UTF-8",
        )
        return None
    if not text.strip():
        problems.add("empty table", f"{path}: no rows")
        return None
    return text


def _json_rows(path: Path, text: str, problems: Problems) -> Table | None:
    lines: list[tuple[int, object]] = []
    if text.lstrip().startswith("["):
        try:
            lines = list(enumerate(json.loads(text), start=1))
        except ValueError as error:
            problems.add("bad row", f"{path}: is not JSON: {error}")
            return None
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                lines.append((number, json.loads(line)))
            except ValueError as error:
                problems.add("bad row", f"{path}:{number}: is not JSON: {error}")
    rows: list[tuple[int, dict[str, str]]] = []
    names: dict[str, None] = {}
    for number, value in lines:
        if not isinstance(value, dict):
            problems.add("bad row", f"{path}:{number}: expected an object, {{...}}")
            continue
        cells = {str(key): _cell(one) for key, one in value.items()}
        names |= dict.fromkeys(cells)
        rows.append((number, cells))
    if not rows:
        return None
    return Table(path, tuple(names), rows, True, "JSON, an object a row")


def _cell(value: object) -> str:
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return value["path"]  # {"path": ...}, as data sets write audio
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _delimited(
    path: Path,
    text: str,
    delimiter: str | None,
    known: frozenset[str],
    is_audio: Callable[[str], bool],
    problems: Problems,
) -> Table | None:
    delimiter, quoting = _dialect(path, text, delimiter)
    records = _records(text, delimiter, quoting)
    width = _usual_width(records[:_LOOKED_AT])
    headed = _is_headed(records, known, is_audio)
    names = tuple(records[0][1]) if headed else tuple(str(i + 1) for i in range(width))
    if headed and len({name.strip() for name in names}) < len(names):
        problems.add(
            "bad header",
            f"{path}:{records[0][0]}: two columns have the same name: {names}; rename one",
        )
        return None
    names = tuple(name.strip() for name in names)
    rows = []
    for line, cells in records[headed:]:
        if len(cells) != len(names):
            problems.add(
                "bad row",
                f"{path}:{line}: {len(cells)} cells, expected {len(names)}; a {_said(delimiter)} "
                "inside a text needs quotes around the cell",
            )
            continue
        rows.append((line, dict(zip(names, cells, strict=True))))
    if not rows:
        problems.add(
            "empty table", f"{path}: no rows that can be used; give a table with audio and texts"
        )
        return None
    quotes = "" if quoting == csv.QUOTE_NONE else ", quoted cells"
    return Table(path, names, rows, headed, f"cells split by {_said(delimiter)}{quotes}")


def _dialect(path: Path, text: str, delimiter: str | None) -> tuple[str, Quoting]:
    """Delimiter and quoting under which most rows have one number of cells, two at least."""
    by_name = {".tsv": "\t", ".psv": "|"}.get(path.suffix.lower())
    choices = (delimiter,) if delimiter else DELIMITERS
    ranked = []
    for one in choices:
        for quoting in _QUOTINGS:
            widths = [len(cells) for _, cells in _records(text, one, quoting)[:_LOOKED_AT]]
            usual = max(set(widths), key=lambda width: (widths.count(width), width))
            share = widths.count(usual) / len(widths)
            ranked.append((usual > 1, round(share, 2), one == by_name, one, quoting))
    # the first of those that are equal: quotes are quotes where both readings are possible
    best = max(ranked, key=lambda rank: rank[:3])
    return best[3], best[4]


def _records(text: str, delimiter: str, quoting: Quoting) -> list[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]


def _is_headed(
    records: list[tuple[int, list[str]]], known: frozenset[str], is_audio: Callable[[str], bool]
) -> bool:
    """By a column's name; else (a header in any language) since only the others lead to audio."""
    first, others = records[0][1], [cells for _, cells in records[1:_LOOKED_AT]]
    if any(cell.strip().lower() in known for cell in first):
        return True
    lead = sum(any(map(is_audio, cells)) for cells in others)
    return 2 * lead > len(others) and not any(map(is_audio, first))


def _usual_width(records: Sequence[tuple[int, list[str]]]) -> int:
    widths = [len(cells) for _, cells in records]
    return max(set(widths), key=lambda width: (widths.count(width), width))


def _said(delimiter: str) -> str:
    return {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}.get(delimiter, repr(delimiter))
