"""Per-dimension mean and standard deviation, in float64, poolable. Legend: S positions, E width."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Count, mean [E] and sum of squared deviations from the mean [E], all over frames."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray) -> "Statistics":
        """Measure float [S, E] with S >= 1."""
        values = frames.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean  # in place: a dump spends more on fresh memory than on the sums
        np.square(values, out=values)
        return cls(len(values), mean, values.sum(axis=0))

    @classmethod
    def pool(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """Statistics of all frames of the parts, exact but for rounding.

        Deviations are taken from the pooled mean, so nothing cancels when the mean is large.
        """
        parts = list(parts)
        count = sum(part.count for part in parts)
        mean = np.asarray(sum(part.count * part.mean for part in parts) / count)
        squares = np.asarray(
            sum(part.squares + part.count * np.square(part.mean - mean) for part in parts)
        )
        return cls(count, mean, squares)

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation [E]."""
        return np.sqrt(self.squares / self.count)
