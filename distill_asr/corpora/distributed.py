"""Corpora as they are distributed, turned into Kaldi-style data directories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distill_asr.corpora.contract import CorpusSet
from distill_asr.data.datadir import DataDir
from distill_asr.errors import Problems
from distill_asr.io.occupied import DATA, occupied
from distill_asr.io.tables import Row, table_rows


@dataclass(frozen=True)
class Utterance:
    """One recording; ``text`` is None where the transcript is not to be used."""

    key: str
    speaker: str
    path: Path
    text: str | None


def files(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder, sorted, without the ``._`` files that macOS puts beside others.

    Parameters
    ----------
    folder : where; none are found where it is missing.
    pattern : of the path below the folder, as of ``Path.glob``.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("._"))


def write_sets(
    out: Path, sets: dict[str, list[Utterance]], problems: Problems
) -> dict[str, CorpusSet]:
    """Write ``out/<set>/{wav.scp,text,utt2spk,spk2utt}``; nothing where there are problems.

    Paths in wav.scp start as ``path`` of the utterances does. Audio is not opened: that is what
    ``distill-asr prepare`` does.

    Parameters
    ----------
    out : data directory.
    sets : utterances by name of the set; one without a text leaves its set unlabelled.
    problems : found so far.

    Raises
    ------
    UserError : ``problems``, and ids that occur twice.
    """
    seen: dict[str, Path] = {}
    for one in (one for members in sets.values() for one in members):
        if one.key in seen:
            problems.add("duplicate id", f"{one.key}: {seen[one.key]} and {one.path}; keep one")
        seen[one.key] = one.path
    for name in sets:
        for problem in occupied(out / name, DATA, "--out"):
            problems.add("other content", problem)
    problems.raise_if_any()
    written = {}
    for name, members in sets.items():
        labelled = all(one.text is not None for one in members)
        data = DataDir(
            out / name,
            {one.key: str(one.path) for one in members},
            {one.key: one.text or "" for one in members} if labelled else None,
            {one.key: one.speaker for one in members},
        )
        data.write(out / name)
        written[name] = CorpusSet(len(data), len(set(data.utt2spk.values())), labelled)
    return written


def transcript_lines(path: Path, problems: Problems) -> Iterator[Row]:
    """Rows of ``ID words``; ``problems`` gets what cannot be used.

    A line that is not UTF-8 still gives its id, so that its audio is not reported as well.
    """
    for row in table_rows(path, problems):
        if not row.value:
            problems.add(
                "empty transcript",
                f"{path}:{row.line}: {row.key}: no words after the id; get the file again",
            )
        yield row
