"""Codecs: what goes in comes out, as far as they promise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from distill_asr.errors import UserError
from distill_asr.targets.codebooks import CODEBOOKS, Codebooks
from distill_asr.targets.codecs import CODECS, build_codec, codec_problems, complete_codec
from distill_asr.targets.quantizer import quantizer_path
from distill_asr.testing.codebooks import random_codebooks, write_codebooks

STATES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-65500, 65500, width=32),
)
WIDTH = 3


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    return tmp_path / "dump/train/targets/t"


@pytest.fixture
def mvq(targets: Path) -> dict[str, Any]:
    """Options of an mvq codec of width 3, whose codebooks lie where they should."""
    return write_codebooks(targets, WIDTH)


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
    assert np.array_equal(stored.view(np.uint16), states.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("name", CODECS)
def test_decoded_array_is_the_callers_own(name: str, mvq: dict, targets: Path) -> None:
    codec = build_codec(mvq if name == "mvq" else {"name": name}, targets)
    stored = codec.encode("u", np.ones((2, WIDTH), np.float32))
    assert stored.dtype == codec.stored_dtype
    assert stored.shape == (2, codec.stored_width(WIDTH))
    stored.flags.writeable = False
    before = stored.copy()
    decoded = codec.decode(stored)
    decoded += 1
    assert decoded.dtype == np.float32 and (stored == before).all()


@pytest.mark.parametrize("value", [65520.0, -70000.0, 1e30])
def test_fp16_overflow_names_the_utterance_and_the_way_out(value: float) -> None:
    with pytest.raises(UserError, match=r"utterance loud: .*65504.*name: fp32"):
        build_codec({"name": "fp16"}).encode("loud", np.full((1, 1), value, np.float32))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_not_finite_are_refused(
    name: str, value: float, mvq: dict, targets: Path
) -> None:
    codec = build_codec(mvq if name == "mvq" else {"name": name}, targets)
    with pytest.raises(UserError, match=r"utterance broken: .*not finite"):
        codec.encode("broken", np.full((2, WIDTH), value, np.float32))


# -- mvq -----------------------------------------------------------------------------


def test_codes_are_bytes_that_say_roughly_the_states(mvq: dict, targets: Path) -> None:
    codec = build_codec(mvq, targets)
    states = np.random.default_rng(1).normal(5, 2, (500, WIDTH)).astype(np.float32)
    codes = codec.encode("u", states)
    assert codes.dtype == np.uint8 and codes.shape == (500, 4)
    error = np.square(codec.decode(codes) - states).sum() / np.square(states - 5).sum()
    assert error < 0.01, "256 entries in each of 4 codebooks, for 3 dimensions"


def test_decoding_is_the_sum_of_the_entries(mvq: dict, targets: Path) -> None:
    codes = np.array([[0, 1, 2, 255]], np.uint8)
    books = random_codebooks(WIDTH)
    chosen = sum(
        books.entries[c, code].astype(float) * books.scales[c, code]
        for c, code in enumerate(codes[0])
    )
    np.testing.assert_allclose(
        build_codec(mvq, targets).decode(codes)[0], 5 + 2 * chosen, rtol=1e-5
    )


def test_rounding_of_codebooks_is_small_and_survives_zeros() -> None:
    centers = np.random.default_rng(0).normal(0, 3, (2, 256, 50)).astype(np.float32)
    centers[1, 7] = 0
    books = Codebooks.of(centers, np.zeros(50), np.ones(50), {})
    lost = np.square(books.centers() - centers).sum() / np.square(centers).sum()
    assert 0 < lost < 1e-4
    assert (books.centers()[1, 7] == 0).all()


def test_other_codebooks_than_the_manifests_are_refused(mvq: dict, targets: Path) -> None:
    write_codebooks(targets, WIDTH, seed=1)
    codec = build_codec(mvq, targets)
    with pytest.raises(UserError, match=f"{targets / CODEBOOKS}: not the codebooks of"):
        codec.decode(np.zeros((1, 4), np.uint8))
    with pytest.raises(UserError, match=r"codebooks/t.safetensors: not the codebooks of"):
        codec.encode("u", np.ones((1, WIDTH), np.float32))


def test_missing_and_damaged_codebooks_are_named(mvq: dict, targets: Path) -> None:
    path = targets / CODEBOOKS
    content = path.read_bytes()
    for broken in (content[:50], content[:-1], b"", b"{}"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=f"{path}: cannot be read"):
            build_codec(mvq, targets).decode(np.zeros((1, 4), np.uint8))
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: missing"):
        build_codec(mvq, targets).decode(np.zeros((1, 4), np.uint8))
    quantizer_path(targets).unlink()
    with pytest.raises(UserError, match=r"t.safetensors: missing"):
        build_codec(mvq, targets).encode("u", np.ones((1, WIDTH), np.float32))


def test_decoding_needs_no_quantizer(mvq: dict, targets: Path) -> None:
    quantizer_path(targets).unlink()
    build_codec(mvq, targets).decode(np.zeros((1, 4), np.uint8))


# -- options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"name": "fp32"},
        {"name": "fp16"},
        {"name": "mvq"},
        {"name": "mvq", "codebooks": 8, "sample_frames": 5000, "steps": 100, "seed": 3},
    ],
)
def test_good_options(value: dict) -> None:
    assert codec_problems(value) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mvq", "given 'mvq', expected {name: fp32|fp16|mvq}"),
        ({}, "given {}, expected {name: "),
        ({"name": "mvg"}, "unknown name 'mvg'; did you mean 'mvq'?"),
        ({"name": ["mvq"]}, "unknown name ['mvq']"),
        ({"name": "fp16", "codebooks": 8}, "unknown option 'codebooks' of fp16"),
        ({"name": "mvq", "codebook": 8}, "unknown option 'codebook' of mvq; did you mean"),
        ({"name": "mvq", "sha256": "0"}, "unknown option 'sha256' of mvq"),
        ({"name": "mvq", "codebooks": 12}, "codebooks: given 12, expected one of 1, 2, 4, 8, 16"),
        ({"name": "mvq", "codebooks": True}, "codebooks: given True, expected one of"),
        ({"name": "mvq", "steps": 3}, "steps: given 3, expected a whole number from 8 on"),
        ({"name": "mvq", "sample_frames": "1e5"}, "sample_frames: given '1e5', expected a whole"),
        ({"name": "mvq", "seed": 0.5}, "seed: given 0.5, expected a whole number from 0 on"),
    ],
)
def test_each_mistake_is_reported(value: object, said: str) -> None:
    (problem,) = codec_problems(value)
    assert said in problem


def test_defaults_are_part_of_a_codec() -> None:
    """So that a teacher file that spells them out means the same targets."""
    plain = complete_codec({"name": "mvq"})
    assert plain == complete_codec({"name": "mvq", "codebooks": 16, "steps": plain["steps"]})
    assert complete_codec({"name": "mvq", "codebooks": 8})["codebooks"] == 8
    assert complete_codec({"name": "fp32"}) == {"name": "fp32"}
