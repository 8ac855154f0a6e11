"""Parts of a student as graphs that a runtime can hold, for any batch and time.

An utterance gives the same numbers alone and in a padded batch, which ESPnet's encoders do not:
their subsampling counts frames of the padding, and their convolutions look into it.

Legend: N utterances, T feature frames, C their width, F encoder frames, D width, V vocabulary,
J width of the joint network.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from espnet.nets.pytorch_backend.transformer.embedding import (
    LegacyRelPositionalEncoding,
    PositionalEncoding,
    RelPositionalEncoding,
)
from espnet2.asr.encoder.branchformer_encoder import BranchformerEncoder
from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
from espnet2.layers.global_mvn import GlobalMVN
from espnet2.layers.utterance_mvn import UtteranceMVN
from torch import Tensor, nn

from distill_asr.models.encoders.adapter import Adapter
from distill_asr.models.encoders.chunked import FULL_CONTEXT, ChunkedEncoder, chunk_mask
from distill_asr.models.students.pooling import take_pooling

LAYERED = (ConformerEncoder, EBranchformerEncoder, BranchformerEncoder, TransformerEncoder)
LEAST = float(torch.finfo(torch.float32).min)
OUT_OF_FEATURES = 0.0  # what stands behind an utterance, and what a too short one is filled with


def encoder_problems(student: nn.Module) -> list[str]:
    """Reasons that keep a student's front part out of a graph, by config key; or nothing."""
    problems = extra_parts(student)
    if not isinstance(student.normalize, GlobalMVN | UtteranceMVN | None):
        problems.append(
            f"normalize: {_name(student.normalize)} is not exported; train with global_mvn, "
            "utterance_mvn or none"
        )
    encoder = student.encoder
    if isinstance(encoder, ChunkedEncoder):
        return problems
    if not isinstance(encoder, LAYERED):
        return [
            *problems,
            f"encoder: {_name(encoder)} is not exported; train with chunked, conformer, "
            "e_branchformer, branchformer or transformer",
        ]
    return problems + _layered_problems(encoder)


def extra_parts(student: nn.Module) -> list[str]:
    """Problems of parts before and behind an encoder; an adapter is allowed."""
    return [
        f"{key}: {_name(getattr(student, key))} is not exported; train without it"
        for key in ("preencoder", "postencoder")
        if not isinstance(getattr(student, key), Adapter | None)
    ]


def _layered_problems(encoder: nn.Module) -> list[str]:
    """Options of ESPnet's encoders that cannot be exported."""
    problems = []
    if not isinstance(getattr(encoder.embed, "conv", None), nn.Sequential):
        problems.append(
            "encoder_conf.input_layer: only convolutions over features are exported; train with "
            "conv2d, conv2d1, conv2d2, conv2d6 or conv2d8"
        )
    elif isinstance(encoder.embed.out[-1], LegacyRelPositionalEncoding):
        problems.append(
            "encoder_conf.rel_pos_type: legacy gives other numbers in a padded batch; train with "
            "rel_pos_type: latest"
        )
    elif type(encoder.embed.out[-1]) not in POSITIONS:
        problems.append(
            f"encoder_conf.pos_enc_layer_type: {_name(encoder.embed.out[-1])} is not exported; "
            "train with rel_pos or abs_pos"
        )
    if getattr(encoder, "interctc_use_conditioning", False) or getattr(encoder, "ctc_trim", False):
        problems.append(
            "encoder_conf.interctc_use_conditioning, ctc_trim: are not exported; train without"
        )
    return problems


class EncoderGraph(nn.Module):
    """Normalisation, encoder and what comes right after it: features [N, T, C] to [N, F, ...].

    Parameters
    ----------
    student : without ``encoder_problems``, in evaluation mode; it is copied.
    head : applied to the encoder's output, such as the joint network's projection.
    """

    def __init__(self, student: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.normalise = Normalisation(student.normalize)
        encoder = with_products(copy.deepcopy(student.encoder))
        chunked = isinstance(encoder, ChunkedEncoder)
        self.encoder = ChunkedGraph(encoder) if chunked else LayeredGraph(encoder)
        self.head = nn.Identity() if head is None else copy.deepcopy(head)

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features.

        Parameters
        ----------
        x : [N, T, C].
        x_lens : [N], feature frames.

        Returns
        -------
        The head's output [N, F, ...] and encoder frames [N]; 0 of an utterance too short for one.
        """
        feats = self.normalise(x, x_lens)
        missing = (self.encoder.shortest - x.size(1)) * (x.size(1) < self.encoder.shortest)
        filling = feats.new_full((1, 1, 1), OUT_OF_FEATURES)
        feats = torch.cat([feats, filling.expand(x.size(0), missing, x.size(2))], dim=1)
        hidden, lengths = self.encoder(feats, x_lens)
        return self.head(hidden), lengths


class Normalisation(nn.Module):
    """``global_mvn``, ``utterance_mvn`` over valid frames, or none; zero beyond an utterance."""

    def __init__(self, layer: nn.Module | None) -> None:
        super().__init__()
        self.means = layer is not None and layer.norm_means
        self.variances = layer is not None and layer.norm_vars
        self.fixed = isinstance(layer, GlobalMVN)
        self.eps = getattr(layer, "eps", 0.0)
        if isinstance(layer, GlobalMVN):
            self.register_buffer("mean", layer.mean.float())
            self.register_buffer("std", layer.std.float())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Normalise features.

        Parameters
        ----------
        x : [N, T, C].
        lengths : [N], feature frames.
        """
        valid = (torch.arange(x.size(1), device=x.device) < lengths[:, None])[..., None]
        mean, std = (self.mean, self.std) if self.fixed else self._measured(x, lengths, valid)
        if self.means:
            x = x - mean
        if self.variances:
            x = x / std
        return x.masked_fill(~valid, OUT_OF_FEATURES)

    def _measured(self, x: Tensor, lengths: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.means or self.variances):
            return x, x
        count = lengths.clamp(min=1).to(x.dtype)[:, None, None]
        mean = x.masked_fill(~valid, 0.0).sum(1, keepdim=True) / count
        variance = (x - mean).masked_fill(~valid, 0.0).square().sum(1, keepdim=True) / count
        return mean, variance.sqrt().clamp(min=self.eps)


class ChunkedGraph(nn.Module):
    """``ChunkedEncoder`` over whole utterances, with the chunk size that it has now."""

    def __init__(self, encoder: ChunkedEncoder) -> None:
        super().__init__()
        prepare_blocks(encoder)
        self.encoder = encoder
        self.shortest = encoder.embed.min_frame_length

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features.

        Parameters
        ----------
        feats : [N, T, C].
        lengths : [N], feature frames.

        Returns
        -------
        States [N, F, D] and encoder frames [N].
        """
        encoder = self.encoder
        lengths = encoder.num_frames(lengths)
        hidden = encoder.embed(feats)[0]
        frames = hidden.size(1)
        mask = None
        if encoder.chunk_size != FULL_CONTEXT:
            mask = chunk_mask(frames, encoder.chunk_size, encoder.left_frames)
        padding = torch.arange(frames) >= lengths[:, None]
        place = relative_positions(frames, 0, hidden.size(2))
        for block in encoder.encoders.blocks:
            hidden = block(hidden, place, padding, chunk_mask=mask)[0]
        return encoder.encoders.norm_blocks(hidden), lengths


class LayeredGraph(nn.Module):
    """ESPnet's Conformer, E-Branchformer, Branchformer and Transformer."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        encoder.embed.out[-1] = POSITIONS[type(encoder.embed.out[-1])](encoder.embed.out[-1])
        self.encoder = encoder
        self.strides = [
            (layer.kernel_size[0], layer.stride[0])
            for layer in encoder.embed.conv
            if isinstance(layer, nn.Conv2d)
        ]
        self.shortest = 1
        for kernel, stride in reversed(self.strides):
            self.shortest = (self.shortest - 1) * stride + kernel
        self.pooled = [take_pooling(layer) for layer in encoder.encoders]
        self._valid: Tensor | None = None  # [N, 1, F], of the layer that runs
        for layer in encoder.encoders.modules():
            if isinstance(layer, nn.Conv1d) and layer.kernel_size[0] > 1:
                layer.register_forward_pre_hook(self._hide_padding)

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode features.

        Parameters
        ----------
        feats : [N, T, C].
        lengths : [N], feature frames.

        Returns
        -------
        States [N, F, D] and encoder frames [N].
        """
        hidden: Any = self.encoder.embed(feats, None)[0]
        frames = (hidden[0] if isinstance(hidden, tuple) else hidden).size(1)
        for kernel, stride in self.strides:
            lengths = (lengths - kernel).div(stride, rounding_mode="floor") + 1
        mask = (torch.arange(frames) < lengths.clamp(min=0)[:, None])[:, None]
        for layer, pooled in zip(self.encoder.encoders, self.pooled, strict=True):
            self._valid = mask
            hidden, mask = layer(hidden, mask)
            if pooled:
                hidden, mask = _halved(hidden, mask)
        self._valid = None
        if isinstance(hidden, tuple):
            hidden = hidden[0]
        if getattr(self.encoder, "normalize_before", True):
            hidden = self.encoder.after_norm(hidden)
        return hidden, mask[:, 0].to(torch.int64).sum(1)

    def _hide_padding(self, layer: nn.Module, args: tuple[Tensor]) -> Tensor:
        # a single utterance has the zeros of the convolution's own padding there
        return args[0].masked_fill(~self._valid.bool(), 0.0)


def _halved(hidden: Any, mask: Tensor) -> tuple[Any, Tensor]:
    """Larger of each two frames, as ``pool_after`` of a CIF student takes it.

    Parameters
    ----------
    hidden : [N, F, D], or those and the encodings of their distances.
    mask : [N, 1, F].
    """
    states = hidden[0] if isinstance(hidden, tuple) else hidden
    valid = mask[:, 0, :, None].bool()
    states = states.masked_fill(~valid, LEAST)
    beyond = torch.full_like(states[:, :1], LEAST)
    states = torch.maximum(states[:, ::2], torch.cat([states, beyond], dim=1)[:, 1::2])
    padded = torch.cat([valid, torch.zeros_like(valid[:, :1])], dim=1)
    valid = valid[:, ::2] | padded[:, 1::2]
    states, mask = states.masked_fill(~valid, 0.0), valid[..., 0][:, None]
    if not isinstance(hidden, tuple):
        return states, mask
    return (states, relative_positions(states.size(1), 0, states.size(2))), mask


class RelativePositions(nn.Module):
    """ESPnet's ``RelPositionalEncoding`` for any length, without a table."""

    def __init__(self, layer: RelPositionalEncoding) -> None:
        super().__init__()
        self.scale = layer.xscale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States [N, F, D] scaled, and encodings [1, 2 F - 1, D]."""
        return x * self.scale, relative_positions(x.size(1), 0, x.size(2))


class AbsolutePositions(nn.Module):
    """ESPnet's ``PositionalEncoding`` for any length, without a table."""

    def __init__(self, layer: PositionalEncoding) -> None:
        super().__init__()
        self.scale = layer.xscale

    def forward(self, x: Tensor) -> Tensor:
        """States [N, F, D], scaled and added to."""
        return x * self.scale + sinusoids(torch.arange(x.size(1)), x.size(2))


POSITIONS = {RelPositionalEncoding: RelativePositions, PositionalEncoding: AbsolutePositions}


class PredictorGraph(nn.Module):
    """Stateless predictor and its projection: tokens [N, 1] to [N, J]."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.embed = copy.deepcopy(student.decoder.embed)
        self.project = copy.deepcopy(student.joint_network.lin_dec)

    def forward(self, y: Tensor) -> Tensor:
        """Output [N, J] for the last token ``y`` [N, 1] of each history, blank at the beginning."""
        return self.project(self.embed(y)[:, 0])


class LSTMGraph(nn.Module):
    """LSTM predictor and its projection: tokens [N, 1] and states to [N, J] and new states."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.embed = copy.deepcopy(student.decoder.embed)
        self.layers = copy.deepcopy(student.decoder.rnn)
        self.project = copy.deepcopy(student.joint_network.lin_dec)

    def forward(self, y: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one token of each history.

        Parameters
        ----------
        y : [N, 1], ids.
        hidden, cell : [layers, N, width], zeros before the first token.

        Returns
        -------
        Output [N, J] and the new states.
        """
        x, hiddens, cells = self.embed(y), [], []
        for number, layer in enumerate(self.layers):
            place = slice(number, number + 1)
            x, (one, other) = layer(x, (hidden[place], cell[place]))
            hiddens.append(one)
            cells.append(other)
        return self.project(x[:, 0]), torch.cat(hiddens), torch.cat(cells)


class JoinerGraph(nn.Module):
    """What the joint network does after its projections: [N, J] and [N, J] to logits [N, V]."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.activation = copy.deepcopy(student.joint_network.joint_activation)
        self.output = copy.deepcopy(student.joint_network.lin_out)

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        """Logits [N, V] of one frame [N, J] after one history [N, J] each."""
        return self.output(self.activation(encoder_out + decoder_out))


class Adapted(nn.Module):
    """A head behind the adapter that stays in a student: [N, F, D] to what the head gives."""

    def __init__(self, adapter: Adapter, head: nn.Module) -> None:
        super().__init__()
        self.adapter, self.head = adapter, head

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply adapter and head to each frame of ``hidden`` [N, F, D] by itself."""
        return self.head(self.adapter.added(hidden))


def adapted(student: nn.Module, head: nn.Module) -> nn.Module:
    """``head``, behind the student's adapter if it has one."""
    return head if student.postencoder is None else Adapted(student.postencoder, head)


class CTCHead(nn.Module):
    """CTC's output layer: [N, F, D] to log-probabilities [N, F, V]."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.output = student.ctc.ctc_lo

    def forward(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [N, F, V] of states [N, F, D]."""
        return self.output(hidden).log_softmax(dim=-1)


class Pointwise(nn.Module):
    """A convolution of one frame as the matrix product that it is, so that it can be quantised."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        self.product = nn.Linear(layer.in_channels, layer.out_channels, layer.bias is not None)
        self.product.weight.data = layer.weight.data[:, :, 0]
        if layer.bias is not None:
            self.product.bias.data = layer.bias.data

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, F] -> [N, D', F]."""
        return self.product(x.transpose(1, 2)).transpose(1, 2)


def with_products(encoder: nn.Module) -> nn.Module:
    """Replace an encoder's convolutions of one frame by matrix products, in place."""
    for module in list(encoder.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Conv1d) and layer.kernel_size == (1,) and layer.groups == 1:
                setattr(module, name, Pointwise(layer))
    return encoder


def prepare_blocks(encoder: ChunkedEncoder) -> None:
    """Replace what the blocks do by strides over memory, which no graph can hold."""
    for block in encoder.encoders.blocks:
        block.self_att.rel_shift = shift_relative


def shift_relative(x: Tensor, left_context: int = 0) -> Tensor:
    """Scores by distance [N, H, F, 2 F - 1 + L] to scores by frame [N, H, F, F + L].

    L is ``left_context``, in frames. As ``rel_shift`` of ESPnet (arXiv 1901.02860, appendix B).
    """
    batch, heads, frames, distances = x.shape
    padded = nn.functional.pad(x, (1, 0)).reshape(batch, heads, distances + 1, frames)
    shifted = padded[:, :, 1:].reshape(batch, heads, frames, distances)
    return shifted[..., : frames + left_context]


def relative_positions(frames: int, left: int, width: int) -> Tensor:
    """Encodings [1, 2 F - 1 + L, D] of the distances F - 1 + L ... - (F - 1).

    ``frames``, ``left`` and ``width`` are F, L and D.
    """
    return sinusoids(torch.arange(1 - frames - left, frames).neg(), width)


def sinusoids(place: Tensor, width: int) -> Tensor:
    """Sines and cosines [1, n, width] of places [n] (arXiv 1706.03762)."""
    step = torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width)
    angle = place.to(torch.float32)[:, None] * step.exp()
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None]


def _name(module: nn.Module | None) -> str:
    return "none" if module is None else type(module).__name__
