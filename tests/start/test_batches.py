"""Batches of an epoch, against ESPnet's own samplers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.start.batches import Batches, batches, spread, weighted

LENGTHS = [0.5, 3.0, 1.25, 7.5, 2.0, 2.0, 11.0, 4.25, 0.75, 5.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        {"batch_type": "numel", "batch_bins": 160000},
        {"batch_type": "length", "batch_bins": 90000},
        {"batch_type": "sorted", "batch_size": 3},
        {"batch_type": "folded", "batch_size": 4, "fold_length": [32000]},
    ],
)
def test_as_espnet_makes_them(values: dict, tmp_path: Path) -> None:
    build = pytest.importorskip("espnet2.samplers.build_batch_sampler").build_batch_sampler
    shapes = tmp_path / "shape"
    shapes.write_text("".join(f"u{i} {int(16000 * s)}\n" for i, s in enumerate(LENGTHS)))
    sampler = build(
        values["batch_type"],
        batch_size=values.get("batch_size", 20),
        batch_bins=values.get("batch_bins", 1000000),
        shape_files=[str(shapes)],
        fold_lengths=values.get("fold_length", []),
    )
    parts = [[LENGTHS[int(key[1:])] for key in part] for part in sampler]
    found = batches(LENGTHS, values)
    assert found.count == len(parts)
    assert found.padded == pytest.approx(sum(len(part) * max(part) for part in parts))


@given(st.lists(st.floats(0.1, 30), min_size=1), st.integers(1, 500))
def test_a_larger_set_is_distributed_alike(lengths: list[float], count: int) -> None:
    many = spread(lengths, count)
    assert len(many) == count and many == sorted(many) and set(many) <= set(lengths)
    assert spread(lengths, len(lengths)) == sorted(lengths)


def test_long_utterances_weigh_more() -> None:
    assert weighted([2.0, 2.0]) == 2.0
    assert weighted([1.0, 3.0]) == 2.5  # (1 + 9) / 4


def test_an_epoch_of_a_stated_number_of_batches() -> None:
    whole = Batches(50, 900.0)
    assert whole.limited(None) == whole
    assert whole.limited(5) == Batches(5, 90.0)
    assert whole.limited(100) == Batches(100, 1800.0), "ESPnet goes on in the next round"
