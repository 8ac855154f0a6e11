"""What a source of recordings is: found by its content, read into one list of clips.

A kind of source of your own is a subclass of ``Reader`` anywhere on the Python path; ``distill-asr
init DIR --from SRC --kind my_package.my_module.MyReader`` reads it like a built-in one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems

TRAIN, DEV, TEST, UNLABELLED = "train", "dev", "test", "unlab"  # sets of a recipe


@dataclass(frozen=True)
class Clip:
    """One utterance as its source gives it.

    Parameters
    ----------
    name : what its id is made of; any characters, unique in its source.
    audio : where it is; a relative path is seen from the recipe (audio that was embedded).
    where : the file, and the line or row of it, for messages.
    text : transcript as written; None for audio alone.
    speaker, language : None where the source does not give them.
    split : the source's own name of the part that it belongs to.
    kaldi : ``audio`` may be a command or an entry of an archive; else it is a file.
    """

    name: str
    audio: AudioLocation
    where: str
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    split: str | None = None
    kaldi: bool = False


@dataclass(frozen=True)
class Source:
    """What a reader found.

    Parameters
    ----------
    path : as given.
    kind : name of the reader.
    clips : in the order of the source.
    notes : what was guessed or left out, a line each; a guess names the option that changes it.
    untold : audio files of the folder that no transcript belongs to.
    """

    path: Path
    kind: str
    clips: list[Clip]
    notes: tuple[str, ...] = ()
    untold: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns that the user gave; None is guessed."""

    audio: str | None = None
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    split: str | None = None
    start: str | None = None
    end: str | None = None
    duration: str | None = None


@dataclass(frozen=True)
class ReadOptions:
    """How sources are read.

    Parameters
    ----------
    columns : of tables and data sets.
    delimiter : of a table; None is guessed.
    audio_root : where the paths of a table start, besides the table's own folder.
    embedded : folder that embedded audio is written into, as ``<checksum>.<format>``.
    embedded_name : the same folder as the recipe will call it.
    allow_pipes : commands of wav.scp may run.
    """

    columns: Columns = field(default_factory=Columns)
    delimiter: str | None = None
    audio_root: Path | None = None
    embedded: Path = Path("audio")
    embedded_name: str = "audio"
    allow_pipes: bool = False


class Reader(ABC):
    """Reads one kind of source."""

    name: ClassVar[str]
    """What ``--kind`` calls it."""
    summary: ClassVar[str]
    """One line: what it looks like."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file or folder is of this kind; looks at little, and never fails."""

    @abstractmethod
    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """Every utterance, with its text where there is one. Opens no audio.

        Parameters
        ----------
        path : the source, which ``recognises`` accepts or the user says is of this kind.
        options : what the user says about columns, places and the like.
        problems : gets everything that is wrong.
        """
