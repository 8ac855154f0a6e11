"""What the page's server needs of a student; nothing here needs torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Words:
    """What a student has recognised of a segment.

    Parameters
    ----------
    heard : seconds of audio received so far.
    final : the segment is complete; the next words are of another one.
    """

    text: str
    heard: float
    final: bool


class Session(ABC):
    """One student, one recording."""

    @abstractmethod
    def push(self, samples: np.ndarray) -> list[Words]:
        """Take more audio, float32 [n] in [-1, 1]; give every change of the words."""

    @abstractmethod
    def finish(self) -> list[Words]:
        """The recording is over; the last words are final."""


class Listener(ABC):
    """A student that can be given any number of recordings, one after the other."""

    name: str
    how: str  # for people: how the words come

    @abstractmethod
    def begin(self) -> Session:
        """Start with a new recording."""
