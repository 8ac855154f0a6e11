"""Targets as ESPnet's loader sees them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_asr.targets import TargetReader
from distill_asr.targets.loader import TargetStream, load_targets
from distill_asr.testing.codebooks import write_codebooks


def listed(path: Path, *directories: Path, may_miss: bool = False, without: int = 0) -> str:
    content = {
        "directories": [str(directory) for directory in directories],
        "may_miss": may_miss,
        "utterances": 9,
        "without": without,
    }
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("codec", ["fp32", "fp16"])
def test_vectors_are_as_they_lie_on_disk(make_targets: Callable, codec: str) -> None:
    directory, states, _ = make_targets(codec={"name": codec})
    stream = TargetStream(TargetReader(directory))
    assert len(stream) == 5 and set(stream) == set(states)
    for utterance, expected in states.items():
        dtype = {"fp32": np.float32, "fp16": np.float16}[codec]
        assert stream[utterance].dtype == dtype
        assert np.array_equal(stream[utterance], expected.astype(dtype))


def test_half_precision_stays_so_through_espnets_dataset(
    make_targets: Callable, tmp_path: Path
) -> None:
    from espnet2.train.collate_fn import CommonCollateFn
    from espnet2.train.dataset import ESPnetDataset

    from distill_asr.espnet.plugin import TARGETS_TYPE

    directory, states, _ = make_targets(codec={"name": "fp16"})
    dataset = ESPnetDataset([(listed(tmp_path / "l", directory), "x", TARGETS_TYPE)])
    _, batch = CommonCollateFn()([dataset[utterance] for utterance in states])
    assert batch["x"].dtype == torch.float16
    for row, length, said in zip(batch["x"], batch["x_lengths"], states.values(), strict=True):
        assert np.array_equal(row[:length].numpy(), said.astype(np.float16))
        assert not bool(row[length:].any())


def test_codes_are_not_decoded(make_targets: Callable, tmp_path: Path) -> None:
    codec = write_codebooks(tmp_path / "train/targets/t", width=3)
    directory, _, _ = make_targets(codec=codec)
    stream, reader = TargetStream(TargetReader(directory)), TargetReader(directory)
    assert stream["a"].dtype == np.int64 and stream["a"].shape == (5, 4)
    assert np.array_equal(reader.codec.decode(stream["a"].astype(np.uint8)), reader["a"])


def test_a_missing_utterance_is_a_key_error_unless_it_may_be(make_targets: Callable) -> None:
    reader = TargetReader(make_targets(codec={"name": "fp16"})[0])
    with pytest.raises(KeyError, match="x"):
        TargetStream(reader)["x"]
    nothing = TargetStream(reader, may_miss=True)["x"]
    assert nothing.shape == (0, 3) and nothing.dtype == np.float16


def test_no_codes_have_the_shape_of_codes(make_targets: Callable, tmp_path: Path) -> None:
    codec = write_codebooks(tmp_path / "train/targets/t", width=3)
    stream = TargetStream(TargetReader(make_targets(codec=codec)[0]), may_miss=True)
    assert stream["x"].shape == (0, 4) and stream["x"].dtype == np.int64


def test_the_list_of_a_training(make_targets: Callable, tmp_path: Path, caplog) -> None:
    one, two = make_targets("train")[0], make_targets("unlab", {"u": 800})[0]
    with caplog.at_level(logging.INFO):
        stream = load_targets(listed(tmp_path / "list", one, two))
    assert len(stream) == 6 and not caplog.records
    with pytest.raises(KeyError):
        stream["x"]
    with caplog.at_level(logging.INFO):
        stream = load_targets(listed(tmp_path / "list", one, may_miss=True, without=4))
    assert len(stream["u"]) == 0
    assert "4 of 9 utterances have no targets" in caplog.text
