"""A teacher without torch, quick to load, that can be told to misbehave."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from distill_asr.teachers import Teacher


class PlainTeacher(Teacher):
    """Gives a few moments of each 20 ms of audio.

    Parameters
    ----------
    pause : seconds that an utterance takes.
    dies : the process is killed at the third utterance unless this file exists, and makes it.
    always : it is killed whether the file exists or not.
    fails : message of an error that every call raises.
    waits : from the fourth utterance on, each waits until this file exists.
    """

    reads = "audio"
    step_ms = 20.0
    width = 3
    min_samples = 320
    fingerprint = "f" * 64

    def __init__(
        self,
        device: str,
        pause: float = 0.0,
        dies: str | None = None,
        always: bool = False,
        fails: str | None = None,
        waits: str | None = None,
    ) -> None:
        self._pause, self._dies, self._always, self._fails = pause, dies, always, fails
        self._waits = waits
        self._count = 0

    def size(self, item: np.ndarray) -> int:
        return len(item)

    def states(self, items: list[np.ndarray]) -> list[np.ndarray]:
        return [self._states(item) for item in items]

    def _states(self, item: np.ndarray) -> np.ndarray:
        self._count += 1
        time.sleep(self._pause)
        while self._waits and self._count > 3 and not Path(self._waits).exists():
            time.sleep(0.02)
        if self._fails:
            raise RuntimeError(self._fails)
        if self._dies and self._count == 3 and (self._always or not Path(self._dies).exists()):
            Path(self._dies).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        frames = item[: len(item) // 320 * 320].reshape(-1, 320)
        return np.stack([frames.mean(1), frames.std(1), np.abs(frames).max(1)], axis=1)
