"""The interval covers what it should, and nothing it should not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.scoring.bootstrap import Reduction, pool, relative_reduction
from distill_asr.scoring.wer import Counts

COUNTS = st.builds(Counts, *[st.integers(0, 6)] * 4).filter(lambda c: c.reference > 0)


def utterances(rate: float, n: int, rng: np.random.Generator) -> list[Counts]:
    wrong = rng.binomial(10, rate, size=n)
    return [Counts(hits=10 - int(w), substitutions=int(w)) for w in wrong]


@given(st.lists(COUNTS, min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_a_system_against_itself_is_exactly_nothing(counts: list[Counts]) -> None:
    assert relative_reduction(counts, counts, resamples=200) == Reduction(0.0, 0.0, 0.0)


def test_the_reduction_itself() -> None:
    base = [Counts(8, 2), Counts(6, 2, 1, 2)]  # 7 errors in 20 words
    system = [Counts(9, 1), Counts(8, 2)]  # 3 errors in 20 words
    reduction = relative_reduction(base, system)
    assert reduction.value == pytest.approx(4 / 7)
    assert reduction.low == pytest.approx(1 / 2) and reduction.high == pytest.approx(3 / 5)


def test_clearly_better_and_clearly_worse_exclude_nothing_at_all() -> None:
    rng = np.random.default_rng(1)
    bad, good = utterances(0.3, 200, rng), utterances(0.15, 200, rng)
    better, worse = relative_reduction(bad, good), relative_reduction(good, bad)
    assert 0 < better.low < better.value < better.high < 1
    assert worse.low < worse.value < worse.high < 0


def test_coverage() -> None:
    """Of 600 pairs of systems, about 95 % of the intervals hold the true reduction."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(600):
        interval = relative_reduction(
            utterances(0.3, 150, rng), utterances(0.24, 150, rng), resamples=500
        )
        held += interval.low <= 0.2 <= interval.high
    assert 554 <= held <= 586  # 3 deviations of a binomial either way


def test_pairing_narrows_the_interval() -> None:
    """A constant gain on hard and easy utterances alike is seen, were they ever so different."""
    rng = np.random.default_rng(3)
    base = [Counts(100 - e, e) for e in map(int, rng.integers(4, 80, size=50))]
    system = [Counts(c.hits + 2, c.substitutions - 2) for c in base]
    paired = relative_reduction(base, system)
    shuffled = relative_reduction(base, [system[i] for i in rng.permutation(50)])
    assert paired.low > 0 > shuffled.low
    assert paired.value == pytest.approx(shuffled.value)


@given(st.lists(COUNTS, min_size=2, max_size=10), st.integers(1, 4), st.randoms())
@settings(max_examples=25, deadline=None)
def test_pooling(counts: list[Counts], seeds: int, random: object) -> None:
    system = list(counts)
    random.shuffle(system)
    once = relative_reduction(counts, system, resamples=300)
    # the same run several times over is no new evidence
    assert relative_reduction(pool([counts] * seeds), pool([system] * seeds), 300) == once
    # one utterance's counts add up over seeds
    assert pool([counts, system]) == [a + b for a, b in zip(counts, system, strict=True)]
    assert pool([counts, system]) == pool([system, counts])


def test_pooling_refuses_different_utterances() -> None:
    with pytest.raises(ValueError):
        pool([[Counts(1)], [Counts(1), Counts(1)]])


def test_same_seed_same_interval_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    bad, good = utterances(0.3, 40, rng), utterances(0.2, 40, rng)
    once = relative_reduction(bad, good)
    assert relative_reduction(bad, good) == once
    assert relative_reduction(bad, good, seed=1) != once
    monkeypatch.setattr("distill_asr.scoring.bootstrap.CHUNK", 97)
    assert relative_reduction(bad, good) == once


def test_flawless_baseline() -> None:
    flawless, flawed = [Counts(5), Counts(5)], [Counts(4, 1), Counts(5)]
    assert relative_reduction(flawless, flawless) == Reduction(0.0, 0.0, 0.0)
    assert relative_reduction(flawless, flawed) == Reduction(-math.inf, -math.inf, 0.0)
    assert relative_reduction(flawed, flawless).value == 1.0


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="0 and 0"):
        relative_reduction([], [])
    with pytest.raises(ValueError, match="1 and 2"):
        relative_reduction([Counts(1)], [Counts(1), Counts(1)])
