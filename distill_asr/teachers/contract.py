"""What a teacher is: the class that kinds of teachers, built in or a user's own, derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

READS = ("audio", "text", "audio+text")


class Teacher(ABC):
    """A frozen model that gives states of utterances.

    Legend: N samples, S teacher positions, E teacher width.

    Attributes
    ----------
    reads : what an item of ``states`` is: ``audio`` (float32 [N] at 16 kHz), ``text`` (str), or
        ``audio+text`` (a pair of both).
    step_ms : duration of one position; None on token level.
    width : E.
    min_samples : shortest audio that gives one position; 0 where no audio is read.
    max_size : longest item, in the unit of ``size``; None for no limit. Whoever calls
        ``states`` refuses longer items before heavy work, and names them.
    fingerprint : SHA-256, in hexadecimal, of everything that decides the numbers.
    tokens : what the columns stand for; only of one that gives log-posteriors.
    """

    reads: str = "audio"
    step_ms: float | None = None
    width: int = 0  # to be set, as the fingerprint
    min_samples: int = 0
    max_size: int | None = None
    fingerprint: str = ""
    tokens: tuple[str, ...] | None = None

    @abstractmethod
    def states(self, items: list[Any]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each item; batching does not change the numbers."""

    def objection(self, item: Any) -> str | None:
        """Why it cannot judge an item, whatever its size; None where it can.

        Asked of all text before heavy work, as the sizes are.
        """
        return None

    @abstractmethod
    def size(self, item: Any) -> int:
        """What batches are bounded by: samples of audio; pieces of text, special ones included."""
