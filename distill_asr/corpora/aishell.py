"""AISHELL-1 as it is distributed: one wav an utterance, one transcript file for all.

``data_aishell/wav/{train,dev,test}/<speaker>/*.wav``, ids like BAC009S0002W0122, and
``data_aishell/transcript/aishell_transcript_v0.8.txt``, whose words are cut apart by spaces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from distill_asr.corpora.contract import Built, Corpus, option
from distill_asr.corpora.distributed import Utterance, files, transcript_lines, write_sets
from distill_asr.data.normalise import plain_blanks
from distill_asr.errors import Problems, UserError

_SETS = ("train", "dev", "test")
TRANSCRIPTS = "aishell_transcript_v0.8.txt"
# 325 of the corpus' 141,925 recordings have no transcript; many more are a broken copy
MOST_UNTRANSCRIBED = 0.01
_WAY_OUT = (
    "get data_aishell.tgz from https://www.openslr.org/33, unpack it and the archives in wav/, "
    "and give the folder as AISHELL=DIR or --aishell DIR"
)


@dataclass(frozen=True)
class AishellOptions:
    """Options of ``Aishell``."""

    aishell: str | None = option(
        None, "directory of the corpus: data_aishell, or the one above it", env="AISHELL"
    )


class Aishell(Corpus[AishellOptions]):
    """AISHELL-1, Mandarin."""

    summary = "AISHELL-1: Mandarin, read, 178 h."
    needs = "AISHELL=DIR or --aishell DIR, from https://www.openslr.org/33"
    options = AishellOptions

    def build(self, out: Path, options: AishellOptions) -> Built:
        """Write ``out/{train,dev,test}``."""
        return build(out, options.aishell)


def build(out: Path, aishell: str | Path | None) -> Built:
    """Write ``train``, ``dev`` and ``test``; transcripts without spaces.

    Parameters
    ----------
    out : data directory.
    aishell : the corpus: ``data_aishell``, or the folder around it.

    Raises
    ------
    UserError : everything that is missing or wrong, in one report; nothing is written then.
    """
    problems = Problems()
    root = _find_corpus(aishell)
    texts = read_transcripts(_transcript_file(root), problems)
    sets, left_out, found = {}, {}, set()
    for name in _SETS:
        audio = _recordings(root / "wav" / name, problems)
        found |= audio.keys()
        sets[name] = [
            Utterance(key, path.parent.name, path, texts[key])
            for key, path in audio.items()
            if key in texts
        ]
        left_out[name] = len(audio) - len(sets[name])
        if texts and left_out[name] > MOST_UNTRANSCRIBED * len(audio):
            first = next(key for key in audio if key not in texts)
            problems.add(
                "missing transcript",
                f"{root / 'wav' / name}: {left_out[name]} of {len(audio)} recordings have none, "
                f"such as {first}; at most {MOST_UNTRANSCRIBED:.0%} may lack it: {_WAY_OUT}",
            )
    for key in sorted(texts.keys() - found):
        problems.add(
            "missing audio",
            f"{key}: has a transcript, but no wav/*/*/{key}.wav; unpack the archives in wav/ again",
        )
    built = write_sets(out, sets, problems)
    counts = {name: f"{count} without a transcript" for name, count in left_out.items() if count}
    return Built({n: replace(one, left_out=counts.get(n, "")) for n, one in built.items()})


def _find_corpus(aishell: str | Path | None) -> Path:
    """The folder with ``wav``; raises UserError with the way to get it."""
    if not aishell:
        raise UserError(f"AISHELL-1 is needed: {_WAY_OUT}")
    for folder in (Path(aishell) / "data_aishell", Path(aishell)):
        if (folder / "wav").is_dir():
            return folder
    there = Path(aishell).is_dir()
    state = "has neither wav/ nor data_aishell/wav/" if there else "is not a directory"
    raise UserError(f"{aishell} {state}; expected AISHELL-1: {_WAY_OUT}")


def read_transcripts(path: Path, problems: Problems) -> dict[str, str]:
    """Transcripts by id, the spaces between words removed.

    Parameters
    ----------
    path : rows of an id and its words.
    problems : gets what is wrong in the file.
    """
    texts: dict[str, str] = {}
    for row in transcript_lines(path, problems):
        if row.key in texts:
            problems.add("duplicate id", f"{path}:{row.line}: {row.key} occurs before; keep one")
        texts[row.key] = plain_blanks(row.value).replace(" ", "")
    return texts


def _transcript_file(root: Path) -> Path:
    """In ``transcript/`` as distributed, or beside ``wav``."""
    beside = root / TRANSCRIPTS
    return beside if beside.is_file() else root / "transcript" / TRANSCRIPTS


def _recordings(folder: Path, problems: Problems) -> dict[str, Path]:
    """Path of each recording of a set by its id."""
    audio: dict[str, Path] = {}
    for path in files(folder, "*/*.wav"):
        if path.stem in audio:
            problems.add("duplicate id", f"{path.stem}: {audio[path.stem]} and {path}; keep one")
        audio[path.stem] = path
    if not audio:
        packed = len(list(folder.parent.glob("*.tar.gz")))
        hint = f"; {packed} archives in {folder.parent} are not unpacked" if packed else ""
        problems.add("missing part", f"{folder}: no <speaker>/*.wav{hint}; {_WAY_OUT}")
    return audio
