"""Smaller forms of a graph: what they store, and that they compute nearly the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx
import onnxruntime

from distill_asr.experiments.export.onnx_file import (
    PRECISE,
    Signature,
    halve_weights,
    quantise,
    store_in_8_bits,
    write_graph,
)

SMALLER = {"int8": quantise, "int8, stored": store_in_8_bits, "fp16": halve_weights}


class Layers(nn.Module):
    """One of each kind of weight: tokens [N, U] to [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 64)
        self.lstm = nn.LSTM(64, 64, batch_first=True)
        self.conv = nn.Conv1d(64, 64, 3)
        self.weights = nn.Linear(64, 64)  # as a CIF student names what counts its tokens
        self.output = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.lstm(self.embed(x))[0]
        hidden = self.conv(hidden.transpose(1, 2)).transpose(1, 2)
        return self.output(hidden), self.weights(hidden)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    tokens = torch.arange(10).reshape(2, 5)
    axes = {"x": {0: "N"}, "y": {0: "N"}, "z": {0: "N"}}
    write_graph(Layers(), (tokens,), path, Signature(["x"], ["y", "z"], axes), {"key": 7})
    return path


def outputs(path: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["key"] == "7"
    return session.run(None, {"x": np.arange(40).reshape(8, 5)})


@pytest.mark.parametrize("form", SMALLER)
def test_nearly_the_same_numbers(written: Path, tmp_path: Path, form: str) -> None:
    SMALLER[form](written, tmp_path / "small.onnx")
    for found, right in zip(outputs(tmp_path / "small.onnx"), outputs(written), strict=True):
        assert np.abs(found - right).max() < 0.03 * np.abs(right).max()  # 0.2 if kernels overflow
    ratio = written.stat().st_size / (tmp_path / "small.onnx").stat().st_size
    assert ratio > (1.8 if form == "fp16" else 2.5)


def test_what_counts_tokens_stays(written: Path, tmp_path: Path) -> None:
    def precise(path: Path) -> list[np.ndarray]:
        model = onnx.load(path)
        arrays = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer]
        return [one for one in arrays if one.dtype == np.float32 and one.size == 64 * 64]

    model = onnx.load(written)
    assert any(node.name.startswith(PRECISE) for node in model.graph.node)
    quantise(written, tmp_path / "small.onnx")
    assert len(precise(tmp_path / "small.onnx")) == 1


def test_rows_are_rounded_by_half_a_step_at_most(written: Path, tmp_path: Path) -> None:
    store_in_8_bits(written, tmp_path / "small.onnx")
    before = {tuple(one.dims): onnx.numpy_helper.to_array(one)
              for one in onnx.load(written).graph.initializer if len(one.dims) == 3}  # fmt: skip
    after = [onnx.numpy_helper.to_array(one)
             for one in onnx.load(tmp_path / "small.onnx").graph.initializer]  # fmt: skip
    assert before.keys() == {(64, 64, 3), (1, 256, 64)}  # convolution and LSTM
    for shape, values in before.items():
        stored = [one for one in after if one.shape == shape]
        assert stored and all(one.dtype == np.int8 for one in stored)
        rest = tuple(range(1 if shape[0] > 1 else 2, 3))
        scale = np.abs(values).max(axis=rest, keepdims=True) / 127
        assert min(np.abs(one * scale - values).max() for one in stored) <= scale.max() / 2 + 1e-7
