"""Codecs: what goes in comes out, as far as they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from distill_asr.errors import UserError
from distill_asr.targets.codecs import CODECS, build_codec

STATES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-65500, 65500, width=32),
)


@given(STATES)
def test_fp32_loses_nothing(states: np.ndarray) -> None:
    codec = build_codec({"name": "fp32"})
    assert np.array_equal(codec.decode(codec.encode("u", states)), states)


@given(STATES)
def test_fp16_is_within_half_a_step_and_stable(states: np.ndarray) -> None:
    codec = build_codec({"name": "fp16"})
    stored = codec.encode("u", states)
    decoded = codec.decode(stored)
    assert stored.dtype == np.float16 and decoded.dtype == np.float32
    assert (np.abs(decoded - states) <= np.abs(states) * 2**-11 + 2**-25).all()
    assert np.array_equal(codec.encode("u", decoded), stored)


@pytest.mark.parametrize("name", CODECS)
def test_decoded_array_is_the_callers_own(name: str) -> None:
    codec = build_codec({"name": name})
    stored = codec.encode("u", np.ones((2, 3), np.float32))
    stored.flags.writeable = False
    decoded = codec.decode(stored)
    decoded += 1
    assert (stored == 1).all()


@pytest.mark.parametrize("value", [65520.0, -70000.0, 1e30])
def test_fp16_overflow_names_the_utterance_and_the_way_out(value: float) -> None:
    with pytest.raises(UserError, match=r"utterance loud: .*65504.*name: fp32"):
        build_codec({"name": "fp16"}).encode("loud", np.full((1, 1), value, np.float32))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=r"utterance broken: .*not finite"):
        build_codec({"name": name}).encode("broken", np.full((2, 2), value, np.float32))
