"""A teacher that needs no torch."""

from __future__ import annotations

import time

import numpy as np

from distill_asr.teachers import Teacher

STEP = 320  # samples


class MomentsTeacher(Teacher):
    """Gives mean, deviation and peak of each 20 ms of audio.

    Parameters
    ----------
    pause : seconds that an utterance takes, so that there is time for an accident.
    """

    reads = "audio"
    step_ms = 20.0
    width = 3
    min_samples = STEP
    fingerprint = "f" * 64

    def __init__(self, device: str, pause: float = 0.0) -> None:
        self._pause = pause

    def size(self, item: np.ndarray) -> int:
        """Samples."""
        return len(item)

    def states(self, items: list[np.ndarray]) -> list[np.ndarray]:
        """Float32 [S, 3] of each float32 [num_samples]."""
        return [self._states(item) for item in items]

    def _states(self, item: np.ndarray) -> np.ndarray:
        time.sleep(self._pause)
        frames = item[: len(item) // STEP * STEP].reshape(-1, STEP)
        return np.stack([frames.mean(1), frames.std(1), np.abs(frames).max(1)], axis=1)
