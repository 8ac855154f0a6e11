"""Whatever bytes or values a config holds: a mapping comes back, or a UserError."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from distill_asr.errors import UserError
from distill_asr.io.yaml import load_config, load_yaml, merge
from distill_asr.testing.fixtures import tiny_config

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["ctc", "encoder:1", "l1", "<blank>", "a.b.C", "../x", "~", "0x10", "1e999"]),
)
KEYS = st.one_of(st.text(string.printable, min_size=1, max_size=6), st.integers(-3, 3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
# pieces that YAML gives a meaning to, next to each other
SYNTAX = st.lists(
    st.sampled_from(
        ["a", "b: ", "- ", "\n", "  ", "{", "}", "[", "]", "&x ", "*x", "!!python/none ", "<<: ",
         "? ", "| ", "> ", "'", '"', "#", "%", "---\n", "extends: ", ",", "\t", "é", "\x00",
         "!!str "]
    ),
    max_size=20,
).map("".join)  # fmt: skip
OVERRIDES = st.tuples(KEYS, SYNTAX).map("{0[0]}={0[1]}".format)
FUZZED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def or_user_error(function: Callable, *arguments: object) -> object:
    """What it gives, or None where it refuses; anything else that it raises is a fault."""
    try:
        return function(*arguments)
    except UserError as error:
        assert all(isinstance(problem, str) and problem for problem in error.problems)
        return None


@FUZZED
@given(content=st.one_of(st.binary(max_size=60), SYNTAX.map(str.encode)))
def test_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.yaml"
        path.write_bytes(content)
        found = or_user_error(load_yaml, path)
        assert found is None or isinstance(found, dict)
        or_user_error(load_config, path)


@FUZZED
@given(content=st.dictionaries(st.text(string.ascii_letters, min_size=1), VALUES, max_size=4))
def test_what_is_written_is_read(content: dict) -> None:
    content.pop("extends", None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        assert repr(load_config(path)) == repr(content)  # NaN is not itself


@FUZZED
@given(
    override=st.one_of(
        st.text(max_size=12), SYNTAX, st.tuples(KEYS, SYNTAX).map("{0[0]}={0[1]}".format)
    )
)
def test_any_override(override: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: {b: 1}\nc: 2\n")
    found = or_user_error(load_config, path, [override])
    assert found is None or isinstance(found, dict)


@FUZZED
@given(
    base=st.dictionaries(KEYS, VALUES, max_size=4), diff=st.dictionaries(KEYS, VALUES, max_size=4)
)
def test_laws_of_merging(base: dict, diff: dict) -> None:
    before = repr(base), repr(diff)
    merged = merge(base, diff)
    assert (repr(base), repr(diff)) == before
    assert set(diff) <= set(merged)
    assert repr(merge(base, {})) == repr(base)
    assert repr(merge(merged, diff)) == repr(merged), "twice is once"


@pytest.fixture(scope="module")
def validate() -> Callable[[dict], None]:
    """Check a training config; needs ESPnet."""
    pytest.importorskip("espnet2")
    from distill_asr import cli

    def run(content: dict) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "config.yaml"
            path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
            assert cli.main(["validate", str(path)]) in (0, 1)

    return run


PLACES = ("model", "encoder", "encoder_conf", "decoder", "frontend_conf", "optim", "optim_conf",
          "token_list", "token_type", "normalize", "normalize_conf", "init_param", "max_epoch",
          "batch_type", "batch_size", "model_conf", "distill", "scheduler", "specaug_conf",
          "best_model_criterion", "bpemodel", "seed")  # fmt: skip
DISTILL_KEYS = ("teacher", "tap", "match", "match_conf", "loss", "loss_conf", "weight", "head",
                "reduce", "schedule", "missing", "delay")  # fmt: skip


@settings(FUZZED, max_examples=60)
@given(kind=st.sampled_from(["ctc", "cif", "encoder_only", "transducer"]),
       key=st.sampled_from(PLACES), value=VALUES)  # fmt: skip
@example(kind="ctc", key="best_model_criterion", value="")  # ESPnet's parser reads it as text
def test_any_value_at_any_key(kind: str, key: str, value: object, validate: Callable) -> None:
    validate(tiny_config(kind) | {key: value})


@settings(FUZZED, max_examples=60)
@given(blocks=st.dictionaries(st.sampled_from(DISTILL_KEYS), VALUES, max_size=3))
def test_any_distill_block(blocks: dict, validate: Callable) -> None:
    plain = {"teacher": "t", "tap": "encoder", "loss": "l1"}
    validate(tiny_config("ctc", distill={"d": plain | blocks}))
    validate(tiny_config("ctc", distill={"d": blocks}))
