"""Recordings of a source, with or without a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from distill_asr.corpora.generated import speaker_name
from distill_asr.data.normalise import unicode_words

# what is not spoken as it is written: digits, and remarks in brackets
_NOT_SAID = re.compile(r"\d|[\[\](){}<>]")


@dataclass(frozen=True)
class Clip:
    """One recording.

    Parameters
    ----------
    corpus : the collection, such as ``tuxpaint``.
    language : its code, as the collection spells it.
    voice : the speaker, as far as the collection distinguishes them.
    key : names it in its corpus; equal keys of a corpus are the same text in other languages.
    text : as the collection spells it; None where the words are unknown, or are a single
        letter or syllable.
    """

    path: Path
    corpus: str
    language: str
    voice: str
    key: str
    text: str | None = None

    @property
    def utterance(self) -> str:
        """Its id in data directories."""
        return f"{speaker_name(self.voice)}-{speaker_name(self.key)}"

    @property
    def words(self) -> str | None:
        """The text as students are trained on it; None if it is not what is spoken."""
        if self.text is None or _NOT_SAID.search(self.text):
            return None
        return spoken_words(self.text, self.language) or None


def spoken_words(text: str, language: str) -> str:
    """A text as students are trained on it.

    Parameters
    ----------
    text : as the collection has it.
    language : as a collection spells its code, such as ``pt_BR``.
    """
    code = language.replace("_", "-").split("@")[0]
    return unicode_words(text, language=code.lower())
