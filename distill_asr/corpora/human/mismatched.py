"""Recordings that do not match their text: the table of a recipe, and reading them with Whisper.

Legend: B batch, F feature vectors (10 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import Problems
from distill_asr.io.files import write_text_atomic
from distill_asr.io.tables import read_utf8

_HEADER = "utterance\tcer\tset\ttext\twhisper"
LIMIT = 0.6  # character error rate above which a text does not match its recording


@dataclass(frozen=True)
class Reading:
    """The words recognised in a recording, and their distance from its text."""

    utterance: str
    cer: float
    set: str
    text: str
    heard: str

    def line(self) -> str:
        """The row of this recording in the table."""
        return f"{self.utterance}\t{self.cer:.2f}\t{self.set}\t{self.text}\t{self.heard}"


def read_mismatched(path: Path) -> dict[str, float]:
    """Character error of each listed utterance.

    Raises
    ------
    UserError : not UTF-8; lines of another form, all of them.
    """
    problems, found = Problems(), {}
    for number, line in enumerate(read_utf8(path).splitlines(), start=1):
        if line.startswith("#") or line == _HEADER or not line:
            continue
        cells = line.split("\t")
        try:
            found[cells[0]] = float(cells[1])
        except (IndexError, ValueError):
            problems.add("bad line", f"{path}:{number}: expected {_HEADER!r}, found {line!r}")
    problems.raise_if_any()
    return found


def write_mismatched(path: Path, readings: Sequence[Reading], model: str, limit: float) -> int:
    """Write the readings above the limit; rows of other utterances that are there stay.

    Parameters
    ----------
    path : the table.
    readings : of the utterances that were read now.
    model : name of the reader, for the table's first line.
    limit : character error rate, 0 and above; 1 is as many errors as characters.

    Returns
    -------
    How many readings are above the limit.
    """
    new = {one.utterance: one.line() for one in readings if one.cer > limit}
    read = {one.utterance for one in readings}
    rows = dict(new)
    for line in read_utf8(path).splitlines() if path.is_file() else []:
        name = line.split("\t")[0]
        if not line.startswith("#") and line not in ("", _HEADER) and name not in read:
            rows[name] = line
    note = f"# Character error above {limit:g} between the text and what {model} reads"
    lines = [note, _HEADER, *(rows[name] for name in sorted(rows))]
    write_text_atomic(path, "".join(f"{line}\n" for line in lines))
    return len(new)


def character_error(text: str, heard: str) -> float:
    """Edit distance of the characters over the text's length.

    Parameters
    ----------
    text : the reference; an empty one counts as one character.
    heard : what was recognised. Spaces count in neither.
    """
    reference, found = text.replace(" ", ""), heard.replace(" ", "")
    row = list(range(len(found) + 1))
    for number, character in enumerate(reference, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(found, start=1):
            change = before + (character != other)
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, change)
    return row[-1] / max(1, len(reference))
