"""Long audio in parts: nothing is lost, nothing twice, cuts lie in pauses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.io.silence import cut_at_silences

RATE = 8000


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 12), st.floats(1, 5), st.integers(0, 3), st.booleans())
def test_parts_cover_everything_once(seconds: float, most: float, seed: int, silent: bool) -> None:
    waveform = np.random.default_rng(seed).normal(0, 0 if silent else 0.1, round(seconds * RATE))
    longest = round(most * RATE)
    parts = cut_at_silences(waveform.astype(np.float32), RATE, longest)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(waveform)
    sizes = [part.stop - part.start for part in parts]
    assert all(size <= longest for size in sizes)
    assert all(size >= longest // 2 for size in sizes[:-1])


def test_cuts_lie_in_the_pauses() -> None:
    rng = np.random.default_rng(0)
    pauses = [(1.4, 1.7), (2.9, 3.2), (4.5, 4.8)]
    waveform = rng.normal(0, 0.1, 6 * RATE).astype(np.float32)
    for begin, end in pauses:
        waveform[round(begin * RATE) : round(end * RATE)] *= 0.01
    parts = cut_at_silences(waveform, RATE, 2 * RATE)
    assert len(parts) == 4
    for part, (begin, end) in zip(parts, pauses, strict=False):
        assert begin < part.stop / RATE < end


def test_short_audio_stays_whole_and_parts_have_a_length() -> None:
    assert cut_at_silences(np.zeros(RATE, np.float32), RATE, RATE) == [slice(0, RATE)]
    with pytest.raises(ValueError, match="at least 1 s"):
        cut_at_silences(np.zeros(RATE, np.float32), RATE, RATE - 1)
