"""Is B better than A, or were the test utterances kind to it? Paired bootstrap over utterances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill_asr.scoring.wer import Counts

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
CHUNK = 4_000_000  # draws held at a time, bounds the memory


@dataclass(frozen=True)
class Reduction:
    """Relative reduction of the error rate (0.1 is 10 % fewer errors) and its interval."""

    value: float
    low: float
    high: float


def relative_reduction(
    baseline: Sequence[Counts],
    system: Sequence[Counts],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Reduction:
    """Reduction of the error rate against a baseline, with a percentile interval.

    Both sequences hold one entry an utterance, in the same order; several seeds are pooled by
    adding their counts (`pool`). Every resample draws the same utterances for both.

    Where the baseline makes no error, the reduction is 0 if the system makes none either and
    minus infinity otherwise.

    Raises
    ------
    ValueError : the lengths differ, or there is no utterance.
    """
    if len(baseline) != len(system) or not baseline:
        raise ValueError(f"{len(baseline)} and {len(system)} utterances, expected as many, not 0")
    table = np.array(
        [
            [a.errors, a.reference, b.errors, b.reference]
            for a, b in zip(baseline, system, strict=True)
        ],
        dtype=np.float64,
    )
    reductions = _reduction(_resampled_sums(table, resamples, seed))
    tail = (1 - level) / 2
    # of the drawn values themselves: interpolating beside an infinity gives nan
    low, high = np.quantile(reductions, [tail, 1 - tail], method="inverted_cdf")
    return Reduction(float(_reduction(table.sum(0))), float(low), float(high))


def pool(runs: Sequence[Sequence[Counts]]) -> list[Counts]:
    """Add up each utterance's counts over runs (seeds)."""
    return [sum(counts, Counts()) for counts in zip(*runs, strict=True)]


def _resampled_sums(table: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of [utterances, columns] over each resample, [resamples, columns]."""
    size = len(table)
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK // size)
    sums = []
    for start in range(0, resamples, rows):
        n = min(rows, resamples - start)
        draws = rng.integers(size, size=(n, size)) + size * np.arange(n)[:, None]
        times = np.bincount(draws.ravel(), minlength=n * size).reshape(n, size)
        sums.append(times @ table)
    return np.concatenate(sums)


def _reduction(sums: np.ndarray) -> np.ndarray:
    """[..., 4] errors and units of the baseline and of the system to [...] reductions."""
    errors_a, units_a, errors_b, units_b = np.moveaxis(sums, -1, 0)
    if_flawless = np.where(errors_b == 0, 0.0, -math.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        # one division of whole numbers: equal counts give exactly 0
        reduction = 1 - (errors_b * units_a) / (errors_a * units_b)
    return np.where(errors_a == 0, if_flawless, reduction)
