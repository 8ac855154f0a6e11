"""The interval covers what it should, and nothing it should not."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.scoring.bootstrap import (
    Reduction,
    percentile_interval,
    relative_reduction,
)
from distill_asr.scoring.wer import Counts

COUNTS = st.builds(Counts, *[st.integers(0, 6)] * 4).filter(lambda c: c.reference > 0)


def utterances(rate: float | np.ndarray, n: int, rng: np.random.Generator) -> list[Counts]:
    wrong = rng.binomial(10, rate, size=n)
    return [Counts(hits=10 - int(w), substitutions=int(w)) for w in wrong]


@given(st.lists(COUNTS, min_size=1, max_size=20), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_system_against_itself_is_exactly_nothing(counts: list[Counts], seeds: int) -> None:
    found = relative_reduction([counts] * seeds, [counts] * seeds, resamples=200)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.by_seed == (0.0,) * seeds and not found.claims()


def test_the_reduction_itself() -> None:
    base = [Counts(8, 2), Counts(6, 2, 1, 2)]  # 7 errors in 20 words
    system = [Counts(9, 1), Counts(8, 2)]  # 3 errors in 20 words
    reduction = relative_reduction([base], [system])
    assert reduction.value == pytest.approx(4 / 7) and reduction.by_seed == (reduction.value,)
    assert reduction.low < 1 / 2 and reduction.high > 3 / 5, "what each utterance gives alone"


def test_clearly_better_and_clearly_worse_exclude_nothing_at_all() -> None:
    rng = np.random.default_rng(1)
    bad, good = ([utterances(rate, 200, rng) for _ in range(3)] for rate in (0.3, 0.15))
    better, worse = relative_reduction(bad, good), relative_reduction(good, bad)
    assert 0 < better.low < better.value < better.high < 1 and better.claims()
    assert worse.low < worse.value < worse.high < 0 and worse.claims()
    assert not better.claims(floor=0.9), "within the noise"
    assert not relative_reduction(bad[:2], good[:2]).claims(), "two seeds"


def test_one_seed_without_speakers_is_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(5)
    bad, good = utterances(0.3, 60, rng), utterances(0.2, 60, rng)

    def share(errors: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return 1 - other.sum(axis) / errors.sum(axis)

    arrays = tuple(np.array([one.errors for one in run]) for run in (bad, good))
    wanted = scipy.stats.bootstrap(
        arrays, share, paired=True, method="percentile", n_resamples=10_000, rng=rng
    ).confidence_interval
    ours = relative_reduction([bad], [good])
    assert (ours.low, ours.high) == pytest.approx(tuple(wanted), abs=0.015)


def test_levels_are_those_of_a_nested_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unstretched, the interval is that of the plainest nested bootstrap."""
    monkeypatch.setattr("distill_asr.scoring.bootstrap._stretch", lambda *_: 1.0)
    rng = np.random.default_rng(6)
    speakers = [f"s{i}" for i in (0, 0, 0, 1, 1, 2, 2, 2, 2, 3)]
    tables = [[utterances(rate, 10, rng) for _ in range(3)] for rate in (0.4, 0.3)]
    errors = np.array([[[one.errors for one in run] for run in runs] for runs in tables])
    groups = [np.flatnonzero(np.array(speakers) == one) for one in sorted(set(speakers))]
    drawn = []
    for _ in range(4000):
        seeds = rng.integers(3, size=3)
        picked = [rng.choice(groups[one], groups[one].size) for one in rng.integers(4, size=4)]
        before, after = errors[:, seeds][:, :, np.concatenate(picked)].sum((1, 2))
        drawn.append(1 - after / before)
    ours = relative_reduction(*tables, speakers)
    assert ours.speakers == 4
    assert (ours.low, ours.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.03
    )


def counted(wrong: np.ndarray, words: int = 10) -> list[Counts]:
    return [Counts(words - w, w) for w in wrong.tolist()]


def simulated(rng: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of a baseline and of a system that makes 20 % fewer, [seeds, utterances] each.

    Seeds and speakers differ by chance.
    """
    of_speakers = rng.normal(0, [[0.15], [0.1]], size=(2, SPEAKERS.max() + 1))[:, SPEAKERS]
    of_seeds = rng.normal(0, 0.08, size=(2, seeds, 1))
    before = 0.3 * np.exp(of_speakers[0] + of_seeds[0])
    after = 0.24 * np.exp(of_speakers.sum(0) + of_seeds[1])
    return rng.binomial(10, before), rng.binomial(10, after)


SPEAKERS = np.arange(15).repeat(6)


@pytest.mark.parametrize("seeds", [2, 3])
def test_coverage(seeds: int) -> None:
    """At least 95 % of the intervals hold the true reduction; those of old fall short."""
    rng = np.random.default_rng(seeds)
    speakers = [str(one) for one in SPEAKERS]
    held, once = 0, 0
    for _ in range(100):
        both = simulated(rng, seeds)
        now = relative_reduction(
            *([counted(run) for run in runs] for runs in both), speakers, resamples=300
        )
        held += now.low <= 0.2 <= now.high
        # utterances pooled over seeds
        pooled = [[counted(runs.sum(0), 10 * seeds)] for runs in both]
        old = relative_reduction(*pooled, resamples=300)
        once += old.low <= 0.2 <= old.high
    assert held >= 91, "95 % but for 2 deviations of a binomial"
    assert once < 87


def test_pairing_narrows_the_interval() -> None:
    """A constant gain on hard and easy utterances alike is seen, were they ever so different."""
    rng = np.random.default_rng(3)
    base = [Counts(100 - e, e) for e in map(int, rng.integers(4, 80, size=50))]
    system = [Counts(c.hits + 2, c.substitutions - 2) for c in base]
    paired = relative_reduction([base], [system])
    shuffled = relative_reduction([base], [[system[i] for i in rng.permutation(50)]])
    assert paired.low > 0 > shuffled.low
    assert paired.value == pytest.approx(shuffled.value)


def test_seeds_that_agree_and_seeds_that_do_not() -> None:
    """54 % and 8 % fewer errors of two seeds say nothing yet, however many utterances there are."""
    base = [Counts(80, 20)] * 300
    apart = [[Counts(100 - n, n)] * 300 for n in (9, 18)]
    agreed = [[Counts(100 - n, n)] * 300 for n in (13, 13, 14)]
    wide, narrow = (relative_reduction([base] * len(one), one) for one in (apart, agreed))
    assert wide.low < 0 and not wide.claims() and wide.by_seed == pytest.approx((0.55, 0.1))
    assert wide.without_seeds == pytest.approx((0.325, 0.325)), "no utterance differs"
    assert 3 < wide.seeds_needed() < 15
    assert narrow.claims() and narrow.seeds_needed() == 3


def test_what_a_claim_needs() -> None:
    def needed(value: float, low: float, *by_seed: float) -> int | None:
        return Reduction(value, low, 1.0, by_seed, 0, (low, 1.0)).seeds_needed()

    assert needed(0.3, 0.2, 0.3) == 3, "one seed shows no spread"
    assert needed(0.3, 0.2, 0.1, 0.3, 0.5) > needed(0.3, 0.2, 0.25, 0.3, 0.35)
    assert needed(0.1, -0.05, 0.1, 0.1, 0.1) is None, "the utterances alone do not tell"
    assert needed(-math.inf, -math.inf, 0.0) is None


@pytest.mark.parametrize("n", [3, 10, 400])
def test_one_level_is_students_interval_of_a_mean(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(0.2, 0.01, size=n)
    means = values[rng.integers(n, size=(20_000, n))].mean(1)
    low, high = percentile_interval(float(values.mean()), [means], [n])
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15 if n == 3 else 0.03)


def test_a_level_of_one_unit_is_no_chance() -> None:
    drawn = np.random.default_rng(0).normal(0.2, 0.01, size=1000)
    fixed = np.full(1000, 0.2)
    alone = percentile_interval(0.2, [drawn], [9])
    assert percentile_interval(0.2, [fixed, drawn], [1, 9]) == pytest.approx(alone)


def test_same_seed_same_interval_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = simulated(np.random.default_rng(4), 3)
    bad, good = ([counted(run) for run in runs] for runs in both)
    speakers = [str(one) for one in SPEAKERS]
    once = relative_reduction(bad, good, speakers, resamples=300)
    assert relative_reduction(bad, good, speakers, resamples=300) == once
    assert relative_reduction(bad, good, speakers, resamples=300, seed=1) != once
    monkeypatch.setattr("distill_asr.scoring.bootstrap.CHUNK", 997)
    again = relative_reduction(bad, good, speakers, resamples=300)
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_two_speakers_are_too_few_to_draw_from() -> None:
    rng = np.random.default_rng(7)
    bad, good = utterances(0.3, 40, rng), utterances(0.2, 40, rng)
    assert relative_reduction([bad], [good], ["a", "b"] * 20) == relative_reduction([bad], [good])


def test_flawless_baseline() -> None:
    flawless, flawed = [Counts(5), Counts(5)], [Counts(4, 1), Counts(5)]

    def figures(one: list[Counts], other: list[Counts]) -> tuple[float, float, float]:
        found = relative_reduction([one], [other])
        return found.value, found.low, found.high

    assert figures(flawless, flawless) == (0.0, 0.0, 0.0)
    assert figures(flawless, flawed) == (-math.inf, -math.inf, 0.0)
    assert figures(flawed, flawless)[0] == 1.0
    assert not relative_reduction([flawless] * 3, [flawed] * 3).claims()


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="0 and 0"):
        relative_reduction([], [])
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        relative_reduction([[Counts(1)]], [[Counts(1), Counts(1)]])
    with pytest.raises(ValueError, match="speakers of 1"):
        relative_reduction([[Counts(1)] * 2], [[Counts(1)] * 2], ["a"])
