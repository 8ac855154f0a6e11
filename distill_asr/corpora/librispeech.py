"""LibriSpeech as it is distributed: FLAC and one transcript file a chapter.

``LibriSpeech/<part>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac``, beside them
``<speaker>-<chapter>.trans.txt``, and ``LibriSpeech/SPEAKERS.TXT`` for all parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.corpora.contract import Built, Corpus, option
from distill_asr.corpora.distributed import Utterance, files, transcript_lines, write_sets
from distill_asr.errors import Problems, UserError, nearest

_SETS = {  # set -> its parts
    "train": ("train-clean-100",),
    "unlab": ("train-clean-360", "train-other-500"),
    "dev": ("dev-clean", "dev-other"),
    "test_clean": ("test-clean",),
    "test_other": ("test-other",),
}
_UNLABELLED = ("unlab",)
REQUIRED = ("train", "dev")  # of at least one part each, whatever else there is
_WAY_OUT = (
    "get it from https://www.openslr.org/12, unpack it, and give the folder that holds "
    "SPEAKERS.TXT as LIBRISPEECH=DIR or --librispeech DIR"
)

_ID = re.compile(r"(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class LibriSpeechOptions:
    """Options of ``LibriSpeech``."""

    librispeech: str | None = option(
        None, "directory of the corpus: LibriSpeech, or the one above it", env="LIBRISPEECH"
    )
    sets: tuple[str, ...] = option(tuple(_SETS), "sets to make, split by commas")
    partial: bool = option(False, "use the parts that are there, if some are missing")


class LibriSpeech(Corpus[LibriSpeechOptions]):
    """100 hours with transcripts, 860 without."""

    summary = "LibriSpeech: 100 h with transcripts, 860 h without, both kinds of dev and test."
    needs = "LIBRISPEECH=DIR or --librispeech DIR, from https://www.openslr.org/12"
    options = LibriSpeechOptions

    def build(self, out: Path, options: LibriSpeechOptions) -> Built:
        """Write ``out/<set>`` of the sets asked for."""
        return build(out, options.librispeech, options.sets, options.partial)


def build(
    out: Path,
    librispeech: str | Path | None,
    sets: Sequence[str] = tuple(_SETS),
    partial: bool = False,
) -> Built:
    """Write the data directories of the sets; words in lower case.

    Parameters
    ----------
    out : data directory.
    librispeech : the corpus, ``LibriSpeech`` itself or the folder around it.
    sets : which of ``SETS``.
    partial : make sets of those of their parts that are there, and leave out sets without any,
        except ``REQUIRED`` ones.

    Raises
    ------
    UserError : everything that is missing or wrong, in one report; nothing is written then.
    """
    problems = Problems()
    for name in sets:
        if name not in _SETS:
            problems.add("unknown set", f"{name!r}{nearest(name, _SETS)}")
    problems.raise_if_any()
    root = _find_corpus(librispeech)
    chosen = _choose_parts(root, sets, partial, problems)
    subsets = read_speakers(root / "SPEAKERS.TXT", problems)
    read = {}
    for name, parts in chosen.items():
        labelled = name not in _UNLABELLED
        read[name] = [
            utterance
            for part in parts
            for utterance in read_part(root / part, subsets, labelled, problems)
        ]
    return Built(write_sets(out, read, problems))


def _find_corpus(librispeech: str | Path | None) -> Path:
    """The folder with the parts; raises UserError with the way to get it."""
    if not librispeech:
        raise UserError(f"LibriSpeech is needed: {_WAY_OUT}")
    for folder in (Path(librispeech) / "LibriSpeech", Path(librispeech)):
        if any((folder / part).is_dir() for parts in _SETS.values() for part in parts):
            return folder
    there = Path(librispeech).is_dir()
    state = "holds none of its parts (train-clean-100 ...)" if there else "is not a directory"
    raise UserError(f"{librispeech} {state}; expected LibriSpeech: {_WAY_OUT}")


def read_speakers(path: Path, problems: Problems) -> dict[str, str]:
    """The part that each speaker belongs to, by SPEAKERS.TXT: ``ID | SEX | SUBSET | ...``.

    Parameters
    ----------
    path : the file; an empty result where it is missing.
    problems : gets that.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        problems.add("missing file", f"{path}: {error.strerror}; every part comes with it")
        return {}
    rows = [line.split("|") for line in lines if line.strip() and not line.startswith(";")]
    return {row[0].strip(): row[2].strip() for row in rows if len(row) > 2}


def read_part(
    folder: Path, subsets: dict[str, str], labelled: bool, problems: Problems
) -> list[Utterance]:
    """Utterances of one part.

    Parameters
    ----------
    folder : ``LibriSpeech/<part>``.
    subsets : part of each speaker; speakers of another part are a mixed-up copy. Empty: unknown.
    labelled : keep the transcripts; they are looked at in any case.
    problems : gets everything that is wrong.
    """
    chapters = sorted(path for path in folder.glob("*/*") if path.is_dir())
    if not chapters:
        problems.add("empty part", f"{folder}: no <speaker>/<chapter> folders; unpack it again")
    utterances = [one for chapter in chapters for one in _read_chapter(chapter, problems)]
    for speaker in sorted({one.speaker for one in utterances}):
        if subsets and subsets.get(speaker) != folder.name:
            problems.add(
                "wrong part",
                f"{folder / speaker}: SPEAKERS.TXT has this speaker in "
                f"{subsets.get(speaker, 'no part')}; unpack the corpus again",
            )
    if labelled:
        return utterances
    return [Utterance(one.key, one.speaker, one.path, None) for one in utterances]


def _choose_parts(
    root: Path, sets: Sequence[str], partial: bool, problems: Problems
) -> dict[str, list[str]]:
    """Parts of each set that are there; those that must be there and are not are problems."""
    chosen = {name: [part for part in _SETS[name] if (root / part).is_dir()] for name in sets}
    for name, there in chosen.items():
        absent = [part for part in _SETS[name] if part not in there]
        if absent and not (partial and (there or name not in REQUIRED)):
            problems.add(
                "missing part",
                f"{root}: no {', '.join(absent)}, needed for the set {name}; {_WAY_OUT}, or name "
                "the sets to make (--sets), or use only the parts that are there (--partial)",
            )
    return {name: there for name, there in chosen.items() if there}


def _read_chapter(folder: Path, problems: Problems) -> list[Utterance]:
    speaker = folder.parent.name
    name = f"{speaker}-{folder.name}"
    path = folder / f"{name}.trans.txt"
    audio = {found.stem: found for found in files(folder, "*.flac")}
    texts: dict[str, str] = {}
    for row in transcript_lines(path, problems):
        number, key = row.line, row.key
        match = _ID.fullmatch(key)
        if match is None or f"{match[1]}-{match[2]}" != name:
            expected = f"expected an id like {name}-0000"
            problems.add("bad line", f"{path}:{number}: {key!r}: {expected}; get the file again")
        elif key in texts:
            problems.add("duplicate id", f"{path}:{number}: {key} occurs before; keep one")
        else:
            texts[key] = row.value.lower()
    if path.is_file():
        _compare(path, set(texts), set(audio), problems)
    return [Utterance(key, speaker, audio[key], texts[key]) for key in sorted(texts.keys() & audio)]


def _compare(path: Path, texts: set[str], audio: set[str], problems: Problems) -> None:
    for key in sorted(texts - audio):
        problems.add(
            "missing audio",
            f"{path.parent / key}.flac: no such file, but {path.name} has its line; get it again",
        )
    for key in sorted(audio - texts):
        problems.add("missing transcript", f"{path}: no line for {key}.flac; get the file again")
