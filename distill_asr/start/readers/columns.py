"""Which column of a table is which: by the user's word, by its name, or by its cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from distill_asr.errors import Problems, nearest
from distill_asr.start.contract import Columns
from distill_asr.start.readers.rows import Table

NAMES = {  # lower case, the likeliest first
    "audio": (
        "audio_filepath", "audio_path", "audio_file", "audio", "file_name", "filename", "file",
        "path", "wav_path", "wav_file", "wav_filename", "wav", "clip", "recording", "audio_id",
        "utt_id", "utterance_id", "id",
    ),
    "text": (
        "text", "sentence", "transcript", "transcription", "normalized_text",
        "normalized_transcription", "words", "utterance", "label", "raw_transcription",
    ),
    "speaker": (
        "speaker", "speaker_id", "client_id", "spk", "spk_id", "speakerid", "speaker_name", "user",
        "user_id", "reader", "reader_id",
    ),
    "language": ("language", "lang", "locale", "language_id", "lang_id"),
    "split": ("split", "subset", "partition", "set", "fold"),
    "start": ("start", "offset", "begin", "start_time", "start_seconds"),
    "end": ("end", "end_time", "end_seconds", "stop"),
    "duration": ("duration", "seconds", "length_seconds"),
}  # fmt: skip
HEADERS = frozenset(name for names in NAMES.values() for name in names)
_LOOKED_AT = 50  # rows


def guess_columns(
    table: Table, given: Columns, is_audio: Callable[[str], bool], problems: Problems
) -> tuple[Columns, list[str]] | None:
    """The columns, and a note a guess; None, and a problem, without audio or text.

    Parameters
    ----------
    table : with some rows.
    given : what the user named; wins.
    is_audio : whether a cell leads to an audio file.
    problems : gets what is missing.
    """
    by_lower = {name.lower(): name for name in table.names}
    found: dict[str, str | None] = {}
    for part in fields(Columns):
        name = getattr(given, part.name)
        if name is not None and name not in table.names:
            hint = nearest(name, table.names)
            problems.add("no such column", f"{table.path}: --{part.name}-column {name!r}{hint}")
        named = (by_lower[one] for one in NAMES[part.name] if one in by_lower)
        found[part.name] = name if name is not None else next(named, None)
    if given.audio is None:
        found["audio"] = _audio_column(table, found["audio"], is_audio)
    if found["text"] is None or found["text"] == found["audio"]:
        taken = {name for part, name in found.items() if part != "text"}
        found["text"] = _text_column(table, taken)
    missing = [name for name in ("audio", "text") if found[name] is None]
    for absent in missing:
        what = "leads to audio files" if absent == "audio" else "holds texts"
        message = f"{table.path}: no column {what}; found {', '.join(table.names)}; name it "
        problems.add("missing column", message + f"with --{absent}-column")
    if missing:
        return None
    columns = replace(Columns(), **found)
    return columns, _notes(table, columns, given)


def _audio_column(table: Table, named: str | None, is_audio: Callable[[str], bool]) -> str | None:
    """The column whose cells lead to audio most often; the named one where none does."""
    rows = table.rows[:_LOOKED_AT]
    shares = {
        name: sum(is_audio(row.get(name, "")) for _, row in rows) / len(rows)
        for name in table.names
    }
    if named is not None and shares[named] > 0:
        return named
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > 0 else named


def _text_column(table: Table, taken: set[str | None]) -> str | None:
    """The column with the most letters and blanks a cell."""
    scores = {
        name: _textlike([row.get(name, "") for _, row in table.rows[:_LOOKED_AT]])
        for name in table.names
        if name not in taken
    }
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0 else None


def _textlike(cells: Sequence[str]) -> float:
    """Mean letters a cell, doubled by words; 0 where cells are mostly no letters."""
    letters = sum(sum(c.isalpha() for c in cell) for cell in cells)
    characters = sum(len(cell) for cell in cells)
    if not characters or letters < 0.5 * characters:
        return 0.0
    blanks = sum(cell.strip().count(" ") for cell in cells)
    return (letters + 2 * blanks) / len(cells)


def _notes(table: Table, columns: Columns, given: Columns) -> list[str]:
    chosen = [
        f"{part.name} in {name!r}"
        for part in fields(Columns)
        if (name := getattr(columns, part.name)) is not None and getattr(given, part.name) is None
    ]
    names = "" if table.headed else ", no header: columns by number"
    unused = [repr(name) for name in table.names if name not in vars(columns).values()]
    more = f"; not used: {', '.join(unused)}" if unused else ""
    guessed = f"; guessed: {', '.join(chosen)} (--audio-column and the like)" if chosen else ""
    return [f"{table.path.name}: {table.form}{names}{guessed}{more}"]
