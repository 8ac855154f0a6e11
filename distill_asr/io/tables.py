"""The one reader of Kaldi's tables: ``id rest`` lines of UTF-8, wherever they come from."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from distill_asr.errors import Problems, UserError

_SPACES = re.compile(r"[ \t]+")
_VISIBLE = "\u200c\u200d"  # joiners; then number signs and the like of Arabic, Syriac, Kaithi
_VISIBLE += "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_HINTS = {
    "missing": {
        "wav.scp": "; write one line `UTTERANCE FILE` each",
        "utt2spk": "; write one line `UTTERANCE SPEAKER` each",
        "text": "; correct the path, or run the command that writes it",
    },
    "empty": {
        "wav.scp": "; write one line `UTTERANCE FILE` each",
        "text": "; remove it if the set is unlabelled",
    },
}


@dataclass(frozen=True)
class Row:
    """One line: where it stands, the id, and what follows it (may be empty)."""

    line: int
    key: str
    value: str


def read_table(path: str | PathLike[str]) -> dict[str, str]:
    """What follows each id, sorted by id.

    Raises
    ------
    UserError : missing or empty, and everything wrong in it, see ``table_rows``; ids given twice.
    """
    problems = Problems()
    table = collect_table(Path(path), problems)
    problems.raise_if_any()
    return table or {}


def collect_table(path: Path, problems: Problems, required: bool = True) -> dict[str, str] | None:
    """Read a table as ``read_table`` does, without stopping at what is wrong.

    Parameters
    ----------
    path : the file.
    problems : gets everything that is wrong.
    required : an absent file is a problem; otherwise it is None without one.
    """
    if not required and not path.exists():
        return None
    table: dict[str, str] = {}
    before = len(problems)
    for number, key, value in _entries(path, problems):
        if key in table:
            problems.add("duplicate id", f"{path}:{number}: {key} occurs before; keep one")
            continue
        table[sys.intern(key)] = value  # other tables have the same ids
    if not table and len(problems) == before:
        problems.add("empty file", f"{path}: no entries{_HINTS['empty'].get(path.name, '')}")
    return dict(sorted(table.items())) if path.is_file() else None


def table_rows(path: Path, problems: Problems) -> Iterator[Row]:
    """Rows in the file's order, blank lines left out; only a line feed ends a line.

    What is added to ``problems``, each with its line: no such file, bytes that are not UTF-8, a
    byte order mark, control characters (a carriage return that does not end a line among them),
    and ids with blanks or invisible characters in them. Those rows are given all the same, so that
    their ids are not reported as missing as well.
    """
    for number, key, value in _entries(path, problems):
        yield Row(number, key, value)


def _entries(path: Path, problems: Problems) -> Iterator[tuple[int, str, str]]:
    """Line, id and rest of each row, see ``table_rows``."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        hint = _HINTS["missing"].get(path.name, "")
        problems.add("missing file", f"{path}: no such file{hint}")
        return
    except OSError as error:
        problems.add("unreadable file", f"{path}: {error.strerror}")
        return
    plain = _plain(content)
    if plain is not None:
        for number, line in enumerate(plain.split("\n"), start=1):
            key, _, value = line.strip(" ").partition(" ")
            if key:
                yield number, key, value.lstrip(" ")
        return
    for number, raw in enumerate(content.split(b"\n"), start=1):
        where = f"{path}:{number}"
        line = _decoded(raw, where, problems).strip(" \t\r")
        if line.startswith("\ufeff"):
            problems.add("byte order mark", f"{where}: save it as UTF-8 without one")
            line = line[1:]
        if not line:
            continue
        _check_controls(line, where, problems)
        key, *rest = _SPACES.split(line, maxsplit=1)
        _check_key(key, where, problems)
        yield number, key, rest[0] if rest else ""


def read_utf8(path: str | Path, way_out: str = "correct the path") -> str:
    """The text of a file that is no table.

    Parameters
    ----------
    path : the file.
    way_out : what to do about a file that cannot be read; ends the message.

    Raises
    ------
    UserError : it cannot be read, or is not UTF-8; names the line.
    """
    try:
        return Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {way_out}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 (byte 0x{error.object[error.start]:02x}); convert it "
            "(`iconv -f OLD -t UTF-8`)"
        ) from error


def named_character(character: str) -> str:
    """``U+00A0 (no-break space)``."""
    fallback = {"\r": "carriage return", "\0": "NUL"}.get(character, "control character")
    return f"U+{ord(character):04X} ({unicodedata.name(character, fallback).lower()})"


def is_invisible(character: str) -> bool:
    """Whether it is invisible: a format character, but not a joiner of a spelling or a sign."""
    return unicodedata.category(character) == "Cf" and character not in _VISIBLE


def _plain(content: bytes) -> str | None:
    """The text of a table where nothing can be wrong and plain spaces are the only blanks."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", "").isprintable() else None


def _decoded(raw: bytes, where: str, problems: Problems) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.add(
            "not UTF-8",
            f"{where}: byte 0x{raw[error.start]:02x} at position {error.start + 1}; "
            "convert it (`iconv -f OLD -t UTF-8`)",
        )
        return raw.decode("utf-8", errors="replace")


def _check_controls(line: str, where: str, problems: Problems) -> None:
    if line.replace("\t", " ").isprintable():  # no control character; nearly all lines
        return
    for position, character in enumerate(line, start=1):
        blank = character.isspace() and character != "\r"
        if unicodedata.category(character) == "Cc" and not blank:
            hint = "; lines must end with a line feed" if character == "\r" else ""
            problems.add(
                "control character",
                f"{where}: {named_character(character)} at position {position}{hint}; remove it",
            )
            return


def _check_key(key: str, where: str, problems: Problems) -> None:
    if key.isprintable() and " " not in key:  # no blank and nothing invisible
        return
    for character in key:
        if character.isspace() or is_invisible(character):
            problems.add(
                "bad id",
                f"{where}: {named_character(character)} in the id {key!r}; ids have no blanks, and "
                "a plain space or a tab separates them from the rest",
            )
            return
