"""Is B better than A, or were seeds, speakers and utterances kind to it?

Hierarchical bootstrap of the relative reduction of errors: seeds are drawn with replacement, then
the speakers of the test set, then the utterances of each speaker drawn. Both systems get the same
draw, so that they are paired by seed and by utterance. Seeds are crossed with utterances (every
seed recognises the same ones), so one draw of utterances serves all seeds of a resample.

Few units spread less in a bootstrap than they do in truth, and two or three seeds are few. The
percentile interval is therefore widened as Student's t requires: each level's variance by
n / (n - 1), and the quantile of t for the degrees of freedom of their sum (Satterthwaite 1946; for
one level it is the expanded interval of Hesterberg 2015). Drawing utterances within speakers counts
their chance twice where speakers do not differ: the interval is then too wide, not too narrow.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from distill_asr.scoring.wer import Counts

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
CHUNK = 4_000_000  # draws held at a time, bounds the memory
FEWEST_SPEAKERS = 3  # of a set, for speakers to be drawn
SEEDS_FOR_CLAIM = 3
MOST_SEEDS = 30  # that a claim is planned with

Runs = Sequence[Sequence[Counts]]  # one entry a seed, of one entry an utterance


@dataclass(frozen=True)
class Reduction:
    """Relative reduction of the error rate (0.1 is 10 % fewer errors) and its interval.

    Parameters
    ----------
    value : of all seeds together.
    by_seed : of each seed.
    speakers : how many were drawn from; 0 where utterances alone were.
    without_seeds : the interval of speakers and utterances alone; ``low, high`` with one seed.
    """

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...] = ()
    speakers: int = 0
    without_seeds: tuple[float, float] = (math.nan, math.nan)

    def claims(self, floor: float = 0.0) -> bool:
        """Whether the difference counts: enough seeds, outside the noise, interval without 0."""
        enough = len(self.by_seed) >= SEEDS_FOR_CLAIM
        return enough and abs(self.value) > floor and (self.low > 0 or self.high < 0)

    def seeds_needed(self) -> int | None:
        """How many seeds would keep 0 out of the interval, if they spread as these do.

        At least ``SEEDS_FOR_CLAIM``, which is also the answer while one seed shows no spread. None:
        not with ``MOST_SEEDS`` either; the test set is too small for the difference.
        """
        if not all(map(math.isfinite, (self.value, *self.by_seed))):
            return None
        near = self.without_seeds[0] if self.value > 0 else self.without_seeds[1]
        of_utterances = abs(self.value - near)
        several = len(self.by_seed) > 1
        deviation = float(np.std(self.by_seed, ddof=1)) if several else 0.0
        open_yet = len(self.by_seed) + 1 if several and self.low <= 0 <= self.high else 0
        for seeds in range(max(SEEDS_FOR_CLAIM, open_yet), MOST_SEEDS + 1):
            of_seeds = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(seeds)
            if math.hypot(of_utterances, of_seeds) < abs(self.value):
                return seeds
        return None


def relative_reduction(
    baseline: Runs,
    system: Runs,
    speakers: Sequence[str] = (),
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Reduction:
    """Reduction of the error rate against a baseline, with its interval.

    Where the baseline makes no error, the reduction is 0 if the system makes none either and
    minus infinity otherwise.

    Parameters
    ----------
    baseline, system : the same seeds and the same utterances, in the same order.
    speakers : of each utterance; none, or fewer than ``FEWEST_SPEAKERS`` different ones, and
        utterances are drawn without them.
    resamples : draws.
    level : of the interval, such as 0.95.
    seed : same seed, same draws.

    Raises
    ------
    ValueError : seeds or utterances differ in number, or there are none.
    """
    table = _table(baseline, system)
    groups = _groups(speakers, table.shape[1])
    of_speakers, of_utterances, of_seeds = np.random.default_rng(seed).spawn(3)
    draws = [*_draws(table, groups, resamples, of_speakers, of_utterances)]
    whole, within = (np.concatenate(part) for part in zip(*draws, strict=True))
    seeds = len(table)
    times = of_seeds.multinomial(seeds, [1 / seeds] * seeds, size=resamples)
    drawn = np.einsum("rs,rsc->rc", times, within)
    value = float(reduction(table.sum((0, 1))))
    steps = [reduction(whole.sum(1)), reduction(within.sum(1)), reduction(drawn)]
    units = [len(groups), table.shape[1], seeds]
    fixed = percentile_interval(value, steps[:2], units[:2], level)
    low, high = percentile_interval(value, steps, units, level) if seeds > 1 else fixed
    each = tuple(float(one) for one in reduction(table.sum(1)))
    speakers_drawn = len(groups) if len(groups) > 1 else 0
    return Reduction(value, low, high, each, speakers_drawn, fixed)


def percentile_interval(
    value: float, steps: Sequence[np.ndarray], units: Sequence[int], level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of a nested bootstrap, stretched for levels of few units.

    Parameters
    ----------
    value : what the data give.
    steps : [resamples] what they give with the first level drawn; with the second too; and so on.
    units : their number on each level; a level with one unit does not vary.
    """
    drawn = steps[-1]
    if np.isfinite(steps).all():  # a flawless baseline's infinities have no spread
        # fewer than no errors there are not
        drawn = np.minimum(value + _stretch(value, steps, units, level) * (drawn - value), 1.0)
    tail = (1 - level) / 2
    # of the drawn values themselves: interpolating beside an infinity gives nan
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _stretch(
    value: float, steps: Sequence[np.ndarray], units: Sequence[int], level: float
) -> float:
    """How much wider Student's interval is than the bootstrap's."""
    freedom = np.array([n - 1 for n in units if n > 1])
    moves = np.diff([np.full_like(steps[0], value), *steps], axis=0)
    spread = moves.var(axis=1)[[n > 1 for n in units]] * (freedom + 1) / freedom
    if not spread.any() or steps[-1].var() == 0:
        return 1.0
    together = spread.sum() ** 2 / (spread**2 / freedom).sum()
    wider = spread.sum() / steps[-1].var()
    return float(stdtrit(together, (1 + level) / 2) / ndtri((1 + level) / 2) * math.sqrt(wider))


def reduction(sums: np.ndarray) -> np.ndarray:
    """[..., 4] errors and units of the baseline and of the system to [...] reductions."""
    errors_a, units_a, errors_b, units_b = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    if_flawless = np.where(errors_b == 0, 0.0, -math.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        # one division of whole numbers: equal counts give exactly 0
        share = 1 - (errors_b * units_a) / (errors_a * units_b)
    return np.where(errors_a == 0, if_flawless, share)


def _table(baseline: Runs, system: Runs) -> np.ndarray:
    """[seeds, utterances, 4] errors and units of both."""
    sizes = [len(run) for run in (*baseline, *system)]
    if len(baseline) != len(system) or not baseline or len(set(sizes)) > 1 or not sizes[0]:
        raise ValueError(
            f"{len(baseline)} and {len(system)} seeds of {sizes} utterances, expected as many"
        )
    rows = [
        [[a.errors, a.reference, b.errors, b.reference] for a, b in zip(one, other, strict=True)]
        for one, other in zip(baseline, system, strict=True)
    ]
    return np.array(rows, dtype=np.float64)


def _groups(speakers: Sequence[str], utterances: int) -> list[np.ndarray]:
    """Indices of the utterances of each speaker; all in one group where there are too few."""
    if speakers and len(speakers) != utterances:
        raise ValueError(f"speakers of {len(speakers)} utterances, expected {utterances}")
    _, which = np.unique(np.array(speakers or [""] * utterances), return_inverse=True)
    groups = [np.flatnonzero(which == one) for one in range(which.max() + 1)]
    return groups if len(groups) >= FEWEST_SPEAKERS else [np.arange(utterances)]


def _draws(
    table: np.ndarray,
    groups: list[np.ndarray],
    resamples: int,
    of_speakers: np.random.Generator,
    of_utterances: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sums over speakers drawn whole, and over utterances drawn within them: [n, seeds, 4] each."""
    seeds, utterances, columns = table.shape
    order, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes
    flat = table[:, order].transpose(1, 0, 2).reshape(utterances, seeds * columns)
    by_speaker = np.add.reduceat(flat, starts)
    most = max(1, CHUNK // (len(groups) * int(sizes.max())))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        speaker = of_speakers.integers(len(groups), size=(rows, len(groups)))
        whole = _times(np.arange(rows).repeat(len(groups)), speaker.ravel(), rows, len(groups))
        row = np.arange(rows).repeat(sizes[speaker].sum(1))
        drawn = speaker.ravel().repeat(sizes[speaker.ravel()])
        which = starts[drawn] + (of_utterances.random(len(drawn)) * sizes[drawn]).astype(np.int64)
        within = _times(row, which, rows, utterances)
        shape = (rows, seeds, columns)
        yield (whole @ by_speaker).reshape(shape), (within @ flat).reshape(shape)


def _times(row: np.ndarray, which: np.ndarray, rows: int, units: int) -> np.ndarray:
    """[rows, units] how often each unit was drawn in each row."""
    counts = np.bincount(row * units + which, minlength=rows * units)
    return counts.reshape(rows, units).astype(np.float64)
