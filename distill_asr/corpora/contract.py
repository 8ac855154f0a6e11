"""What every corpus has: a name, typed options, and a builder that gives one kind of result.

A corpus of your own is a subclass of ``Corpus`` anywhere on the Python path; ``distill-asr corpus
my_package.my_module.MyCorpus --out data`` builds it like a built-in one, options included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True)
class CorpusSet:
    """One set that was written, or was there already.

    Parameters
    ----------
    utterances, speakers : how many.
    labelled : whether it has transcripts.
    minutes : of audio; None where the builder does not open the audio.
    left_out : what the set lacks of the distributed corpus, and why; empty for nothing.
    """

    utterances: int
    speakers: int
    labelled: bool = True
    minutes: float | None = None
    left_out: str = ""


@dataclass(frozen=True)
class Built:
    """What a builder did: its sets by name (of the folder below ``out``), and remarks on them."""

    sets: dict[str, CorpusSet] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def table(self) -> str:
        """A line for each set, then the remarks; columns that no set fills are left out."""
        columns = {"set": list(self.sets)}
        sets = self.sets.values()
        columns["utterances"] = [str(one.utterances) for one in sets]
        if any(one.minutes is not None for one in sets):
            columns["minutes"] = [
                "" if one.minutes is None else f"{one.minutes:.1f}" for one in sets
            ]
        columns["speakers"] = [str(one.speakers) for one in sets]
        columns["text"] = ["yes" if one.labelled else "no" for one in sets]
        if any(one.left_out for one in sets):
            columns["left out"] = [one.left_out or "none" for one in sets]
        lines = _aligned(columns) if self.sets else []
        return "\n".join([*lines, *self.remarks])


@dataclass(frozen=True)
class NoOptions:
    """Options of a corpus without options."""


class Corpus(ABC, Generic[OptionsT]):
    """Turns a corpus, distributed or generated, into Kaldi-style data directories.

    Subclasses set ``summary``, and where they have options, ``options``: a frozen dataclass whose
    fields have defaults and are of the kinds str, int, float, bool, ``pathlib.Path``, a tuple of
    str (comma-separated on the command line), or one of these and None. ``option`` gives a field
    its help and an environment variable that its default is taken from.
    """

    summary: ClassVar[str] = "A corpus of your own."
    """One line: what it is."""
    needs: ClassVar[str] = "nothing"
    """What a user must have."""
    options: ClassVar[type] = NoOptions
    """Its options."""

    @abstractmethod
    def build(self, out: Path, options: OptionsT) -> Built:
        """Write ``out/<set>/{wav.scp,text,utt2spk,...}`` of each set that is not there yet.

        Parameters
        ----------
        out : data directory.
        options : an instance of the class ``options``.

        Raises
        ------
        UserError : everything that is missing or wrong, in one report.
        """


def option(default: Any, help: str, *, env: str | None = None) -> Any:
    """A field of an options dataclass.

    Parameters
    ----------
    default : its value where none is given.
    help : what it means, for ``--help``.
    env : environment variable that gives the default, if it is set and not empty.
    """
    return field(default=default, metadata={"help": help, "env": env})


def _aligned(columns: Mapping[str, Iterable[str]]) -> list[str]:
    """Lines of a table: numbers to the right, words to the left."""
    padded = []
    for name, cells in columns.items():
        cells = [name, *cells]
        width = max(map(len, cells))
        words = name in ("set", "text", "left out")
        padded.append([f"{cell:<{width}}" if words else f"{cell:>{width}}" for cell in cells])
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
