"""Graphs to ONNX files, and ONNX files made smaller."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

OPSET = 17  # of 2022: older runtimes on phones and boards have it too
QUANTISED = ("MatMul", "Gemm")
PRECISE = "/weights/"  # begins the nodes that count tokens: a sum over the utterance
_LARGE = 256  # values; smaller weights stay as they are


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and outputs, and which of their axes have any length.

    Parameters
    ----------
    axes : by input or output, the name of each axis that is free.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def write_graph(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    signature: Signature,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write a graph in evaluation mode to ``path``.

    Parameters
    ----------
    example : inputs it is traced with; two utterances, so that no axis looks like a constant.
    metadata : for the runtime, by key.
    """
    with torch.no_grad(), quiet_exporter():
        torch.onnx.export(
            graph.eval(),
            example,
            str(path),
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
            dynamic_axes={name: dict(axes) for name, axes in signature.axes.items()},
            opset_version=OPSET,
            dynamo=False,  # traces in a second what the other exporter takes minutes for
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {k: str(v) for k, v in (metadata or {}).items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def quantise(path: Path, target: Path) -> None:
    """Write ``target``: matrix products of ``path`` with 8-bit weights and activations.

    Products with weights are nearly all of the size and the time of a Conformer, convolutions of
    one frame among them, which are written as products. Other convolutions stay
    as they are: their 8-bit kernels are slower on most processors, and the subsampling at the
    bottom loses most by it. So do products of two activations (attention), which have no weights,
    and the weight predictor of a CIF student, whose errors would add up to a token.
    """
    kept = [node.name for node in onnx.load(path).graph.node if node.name.startswith(PRECISE)]
    with quiet_exporter():
        quantize_dynamic(
            path,
            target,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def halve_weights(path: Path, target: Path) -> None:
    """Write ``target``: ``path`` with its large weights stored as float16.

    They are widened when the model is loaded and all is computed in float32 as before: half the
    size on disk and over the network, nothing else.
    """
    model = onnx.load(path)
    graph, casts = model.graph, []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        name, stored = weight.name, f"{weight.name}_float16"
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, target)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Within the block, no warning of the exporter's own reaches the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
