"""Taps: named student representations, recorded while the student runs as it always does.

Legend: B batch, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distill_asr.distill.states import LatticeLogits, States, TapShape
from distill_asr.models.encoders.adapter import Adapter

# where ESPnet's encoders keep their stack of layers, in the order of looking
LAYER_PATHS = (
    "encoders",
    "encoders.layers",
    "encoders.blocks",
    "encoders.encoder.layers",
    "encoders.model.encoder.layers",
    "blocks",
    "encoder.blocks",
    "enc",
)


def encoder_layers(encoder: nn.Module) -> list[nn.Module]:
    """The layers of an ESPnet encoder, first to last; empty where it shows none."""
    for path in LAYER_PATHS:
        try:
            stack = encoder.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(stack, (nn.ModuleList, nn.Sequential)) and len(stack):
            return list(stack)
    return []


def encoder_tap_names(encoder: nn.Module) -> list[str]:
    """``encoder`` and ``encoder:1`` ... ``encoder:N``; layer k is the output of the k-th layer."""
    return ["encoder"] + [f"encoder:{i + 1}" for i in range(len(encoder_layers(encoder)))]


def vocabulary_layer(decoder: nn.Module | None) -> nn.Linear | None:
    """The last layer of an ESPnet attention decoder, or None for other decoders."""
    parts = {} if decoder is None else dict(decoder.named_children())
    layers = [parts[name] for name in ("output_layer", "output") if name in parts]
    return next((layer for layer in layers if isinstance(layer, nn.Linear)), None)


class TapRecorder:
    """Records the watched taps, and only those, during one call of the student.

    It is not a module, so it does not belong to the student's state dict.
    """

    def __init__(self) -> None:
        self._raw: dict[str, Tensor] | None = None
        self._lengths: Tensor | None = None
        self.shapes: dict[str, TapShape] = {}
        self.states: dict[str, States] = {}
        self.lattice: LatticeLogits | None = None

    def watch_encoder(self, encoder: nn.Module, names: list[str]) -> None:
        """Hook the encoder for some taps.

        Parameters
        ----------
        encoder : of ESPnet.
        names : as ``encoder_tap_names`` gives them.
        """
        encoder.register_forward_hook(self._record_encoder)
        layers = encoder_layers(encoder)
        for name in names:
            if name != "encoder":
                layer = layers[int(name.split(":")[1]) - 1]
                layer.register_forward_hook(self._layer_hook(name))

    def watch_adapter(self, adapter: Adapter) -> None:
        """Record ``adapter``: each frame in the text model's space, [B, T, A]."""
        lengths: list[Tensor] = []

        def before(module: nn.Module, args: tuple) -> None:
            if self._raw is not None:
                lengths.append(args[1])

        def projected(module: nn.Module, args: tuple, output: Tensor) -> None:
            if lengths:
                length = lengths.pop().to(torch.int64)
                self.put("adapter", States(output, length, self._step("adapter")))

        adapter.register_forward_pre_hook(before)
        adapter.projection.register_forward_hook(projected)

    def watch_ctc(self, ctc: nn.Module) -> None:
        """Record ``ctc``: the logits [B, T, V] of the CTC loss, which every matcher may ask for.

        An encoder with intermediate CTC losses has its main loss computed first; validation runs
        the output layer once more for the error rate. Only the first loss's logits count.
        """
        lengths: list[Tensor] = []

        def before(module: nn.Module, args: tuple) -> None:
            if self._raw is not None and "ctc" not in self.states:
                lengths.append(args[1])

        def output_layer(module: nn.Module, args: tuple, output: Tensor) -> None:
            if lengths:
                self.put("ctc", States(output, lengths.pop().to(torch.int64), self._step("ctc")))

        ctc.register_forward_pre_hook(before)
        ctc.ctc_lo.register_forward_hook(output_layer)

    def watch_decoder(self, decoder: nn.Module) -> None:
        """Record ``decoder``: what enters the vocabulary layer, [B, U, D], U with the end token."""
        lengths: list[Tensor] = []

        def before(module: nn.Module, args: tuple) -> None:
            if self._raw is not None:
                lengths.append(args[3])  # of the tokens that go in, the start token first

        def last_layer(module: nn.Module, args: tuple) -> None:
            if lengths:
                self.states["decoder"] = States(args[0], lengths.pop().to(torch.int64), None)

        decoder.register_forward_pre_hook(before)
        vocabulary_layer(decoder).register_forward_pre_hook(last_layer)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record within the block; what was recorded before is forgotten."""
        self._raw, self.states = {}, {}
        try:
            yield
        finally:
            self._raw, self._lengths, self.states, self.lattice = None, None, {}, None

    @property
    def is_recording(self) -> bool:
        """Whether a call of the student is being recorded."""
        return self._raw is not None

    def put(self, name: str, states: States) -> None:
        """Record a tap that the student gives itself: its name, and its states [B, T, D]."""
        if self._raw is not None:
            self.states[name] = states

    def put_lattice(self, lattice: LatticeLogits, encoded: Tensor, lengths: Tensor) -> None:
        """Record a transducer's ``logits``.

        Parameters
        ----------
        lattice : computes them where a matcher asks.
        encoded : [B, T, D], output of the encoder.
        lengths : [B], valid frames.
        """
        if self._raw is not None:
            self.lattice = lattice
            self.put("logits", States(encoded, lengths.to(torch.int64), self._step("logits")))

    def _step(self, name: str) -> float | None:
        """Duration of a step of a tap at the encoder's frame rate."""
        return self.shapes[name].step_ms if name in self.shapes else None

    def _layer_hook(self, name: str):
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            if self._raw is not None:
                self._raw[name] = _first_tensor(output)

        return hook

    def _record_encoder(self, module: nn.Module, args: tuple, output: tuple) -> None:
        if self._raw is None:
            return
        values, lengths = _first_tensor(output[0]), output[1]
        self._raw["encoder"] = values
        for name, layer in self._raw.items():
            step_ms = self.shapes[name].step_ms if name in self.shapes else None
            self.states[name] = States(layer, _scaled(lengths, values, layer), step_ms)
        self._raw = {}


def _first_tensor(output: object) -> Tensor:
    """ESPnet's layers give x, (x, mask) or ((x, position), mask)."""
    while isinstance(output, (tuple, list)):
        output = output[0]
    return output


def _scaled(lengths: Tensor, encoder: Tensor, layer: Tensor) -> Tensor:
    """Valid lengths at a layer whose frame rate may differ from the encoder's output."""
    lengths = lengths.to(torch.int64)
    if layer.size(1) == encoder.size(1):
        return lengths
    scaled = torch.ceil(lengths * (layer.size(1) / encoder.size(1))).to(torch.int64)
    return scaled.clamp(max=layer.size(1))
