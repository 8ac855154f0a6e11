"""Mean and deviation: exact, poolable, the same however the frames were cut up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill_asr.targets.statistics import Statistics

FRAMES = arrays(
    np.float32,
    st.tuples(st.integers(2, 30), st.just(3)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(FRAMES, st.lists(st.integers(1, 29), max_size=5))
def test_pooling_equals_measuring_all_at_once(frames: np.ndarray, cuts: list[int]) -> None:
    parts = [p for p in np.split(frames, sorted({c for c in cuts if c < len(frames)})) if len(p)]
    pooled = Statistics.pool(Statistics.of(part) for part in parts)
    assert pooled.count == len(frames)
    values = frames.astype(np.float64)
    np.testing.assert_allclose(pooled.mean, values.mean(axis=0), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(pooled.std, values.std(axis=0), rtol=1e-9, atol=1e-8)


def test_a_large_mean_does_not_swallow_the_deviation() -> None:
    frames = np.random.default_rng(0).normal(0, 1, (1000, 2)) + 1e7
    pooled = Statistics.pool(Statistics.of(part) for part in np.split(frames, 10))
    np.testing.assert_allclose(pooled.std, frames.std(axis=0), rtol=1e-7)
