"""Graphs to ONNX files, and ONNX files made smaller."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
STORED = {"Conv": (1,), "Gather": (0,), "Gemm": (1,), "LSTM": (1, 2)}  # inputs that are weights
PRECISE = "/weights/"  # begins the nodes that count tokens: a sum over the utterance
_LARGE = 256  # values; smaller weights stay as they are ...
_LARGE_IN_8_BITS = 1024  # ... such as those of the first convolution, which reads the features


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
    signature : names of inputs and outputs, and their axes that vary.
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
    """Write ``target``: ``path`` with 8-bit weights.

    Products with weights are computed in 8 bits, too: they are nearly all of the size and the time
    of a Conformer, convolutions of one frame among them, which are written as products. The weights
    of other convolutions are only stored in 8 bits, and all is computed in float32: their 8-bit
    kernels are slower on most processors, and the subsampling at the bottom loses most by them.
    Products of two activations (attention) have no weights. The weight predictor of a CIF student
    stays as it is, since its errors would add up to a token.

    Weights of products take 7 of the 8 bits: the kernels of x86 processors without VNNI add two
    products in 16 bits, which larger weights overflow.
    """
    kept = [node.name for node in onnx.load(path).graph.node if node.name.startswith(PRECISE)]
    with quiet_exporter():
        quantize_dynamic(
            path,
            target,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    store_in_8_bits(target, target)


def store_in_8_bits(path: Path, target: Path) -> None:
    """Write ``target``: large weights of ``path`` stored in 8 bits, all computed in float32.

    A scale for each row (output channel, token or unit of an LSTM). A runtime widens them when it
    loads the model. This is all that a predictor needs, which takes hardly any time.
    """
    model = onnx.load(path)
    rounded = {
        node.input[place]
        for node in model.graph.node
        if not node.name.startswith(PRECISE)
        for place in STORED.get(node.op_type, ())
    }
    _store(model, rounded, _LARGE_IN_8_BITS, _rows_in_8_bits)
    shorten_names(model)
    _save(model, target)


def halve_weights(path: Path, target: Path) -> None:
    """Write ``target``: ``path`` with its large weights stored as float16.

    They are widened when the model is loaded and all is computed in float32 as before: half the
    size on disk and over the network, nothing else.
    """
    model = onnx.load(path)
    every = {weight.name for weight in model.graph.initializer}
    _store(model, every, _LARGE, lambda values: (values.astype(np.float16), None))
    shorten_names(model)
    _save(model, target)


def _store(
    model: onnx.ModelProto,
    names: set[str],
    least: int,
    narrow: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]],
) -> None:
    """Replace float32 weights of at least so many values by narrow ones and their widening.

    Parameters
    ----------
    narrow : values to those that are stored, and what they are multiplied by.
    """
    graph, widening, scales = model.graph, [], []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if weight.name not in names or values.dtype != np.float32 or values.size < least:
            continue
        name = weight.name
        stored, scale = narrow(values)
        weight.CopyFrom(onnx.numpy_helper.from_array(stored, f"{name}_stored"))
        wide = name if scale is None else f"{name}_unscaled"
        widening.append(
            onnx.helper.make_node("Cast", [weight.name], [wide], to=onnx.TensorProto.FLOAT)
        )
        if scale is not None:
            scales.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
            widening.append(onnx.helper.make_node("Mul", [wide, f"{name}_scale"], [name]))
    graph.initializer.extend(scales)
    nodes = [*widening, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _rows_in_8_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers from -127 to 127, and the scale of each row."""
    row = next((axis for axis, size in enumerate(values.shape) if size > 1), 0)
    largest = np.abs(values).max(axis=tuple(range(row + 1, values.ndim)), keepdims=True)
    scale = np.where(largest > 0, largest, 1.0) / np.float32(127)
    return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)


def shorten_names(model: onnx.ModelProto) -> None:
    """Number the tensors inside a graph and drop the names of its nodes.

    In a student of a million parameters they are a tenth of an 8-bit file.
    """
    graph = model.graph
    if any(one.type == one.GRAPH for node in graph.node for one in node.attribute):
        return  # a branch or a loop, whose inside reads names of the outside
    given = {one.name for one in (*graph.input, *graph.output)}
    numbers: dict[str, str] = {}

    def short(name: str) -> str:
        if not name or name in given:
            return name  # an input that is left out has none
        return numbers.setdefault(name, f"t{len(numbers)}")

    for weight in graph.initializer:
        weight.name = short(weight.name)
    for node in graph.node:
        node.name, node.doc_string = "", ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    del graph.value_info[:]


def _save(model: onnx.ModelProto, target: Path) -> None:
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
