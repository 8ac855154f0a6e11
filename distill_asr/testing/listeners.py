"""Listeners without a student: their words are the seconds of audio received."""

from __future__ import annotations

import time

import numpy as np

from distill_asr.demo.contract import Listener, Session, Words


class CountingListener(Listener):
    """Gives seconds and loudness of the audio as words, with markup in them to try the page."""

    how = "counts"

    def __init__(self, name: str, slow: float = 0.0) -> None:
        self.name, self.slow = name, slow
        self.pushes: list[int] = []  # samples of each

    def begin(self) -> Session:
        """Start with a new recording."""
        return _Counting(self)


class _Counting(Session):
    def __init__(self, listener: CountingListener) -> None:
        self._listener = listener
        self._heard, self._loudest = 0, 0.0

    def push(self, samples: np.ndarray) -> list[Words]:
        time.sleep(self._listener.slow)
        self._listener.pushes.append(len(samples))
        self._heard += len(samples)
        self._loudest = max(self._loudest, float(np.abs(samples).max()))
        return [self._words(final=False)]

    def finish(self) -> list[Words]:
        return [self._words(final=True)]

    def _words(self, final: bool) -> Words:
        text = f"<b>heard</b> {self._heard} loudest {self._loudest:.2f}"
        return Words(text, self._heard / 16000, final)
