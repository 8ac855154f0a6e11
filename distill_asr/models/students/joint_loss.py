"""Transducer loss with a bound on what the joint network holds at a time.

Legend: B batch, T frames, U tokens, V vocabulary, J width of the joint network, b utterances of a
part of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchaudio.functional import rnnt_loss

from distill_asr.models.students.lattice_loss import LatticeLoss

FLOAT32 = 4  # bytes
# gradients below 6e-8 are zero in half precision; a power of two leaves the others as they are
HALF_PRECISION_SCALE = 1024.0


@dataclass(frozen=True)
class Lattice:
    """What is to be emitted, and in how many frames.

    ``labels`` [B, U] are padded with blanks; ``frames`` and ``tokens`` are lengths [B], whose
    maxima are T and U.
    """

    labels: Tensor
    frames: Tensor
    tokens: Tensor
    blank: int

    def part(self, rows: Tensor) -> Lattice:
        """Some of the utterances, cut to the longest of them."""
        frames, tokens = self.frames[rows], self.tokens[rows]
        return Lattice(self.labels[rows, : int(tokens.max())], frames, tokens, self.blank)


def transducer_loss(
    joint: nn.Module, encoded: Tensor, predicted: Tensor, lattice: Lattice, budget_mb: float
) -> Tensor:
    """Negative log-likelihood per utterance, averaged over the batch; in float32.

    A batch whose logits [B, T, U + 1, V] fit into the budget is computed at once. A larger one is
    split over its utterances, and a part's gradient is computed together with its loss, before
    the next part begins. Nothing is computed twice; loss and gradients are those of the whole
    batch. A second derivative is not available.

    Parameters
    ----------
    joint : ESPnet's ``JointNetwork``.
    encoded : [B, T, D].
    predicted : [B, U + 1, P], output of the predictor.
    lattice : labels and lengths of the B utterances.
    budget_mb : largest size of a part's logits, in MiB of float32. Their gradient takes as much
        again, the hidden layer J / V of it. An utterance that alone is larger runs alone.
    """
    size, vocabulary = encoded.size(0), joint.lin_out.out_features
    nodes = int(budget_mb * 2**20 / (FLOAT32 * vocabulary))
    if size * encoded.size(1) * predicted.size(1) <= nodes:
        logits = joint(encoded.unsqueeze(2), predicted.unsqueeze(1))
        return _losses(logits, lattice).mean()
    parts = [
        _Part(rows, lattice.part(rows)) for rows in split(lattice.frames, lattice.tokens + 1, nodes)
    ]
    # nothing in the projections has both T and U, so they stay outside of the parts
    inputs = joint.lin_enc(encoded), joint.lin_dec(predicted), *joint.lin_out.parameters()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _SplitLoss.apply(joint, parts, *inputs)
    return sum(part.loss(joint, *part.cut(*inputs[:2])) for part in parts) / size


def split(frames: Tensor, positions: Tensor, nodes: int) -> list[Tensor]:
    """Indices of utterances, in parts of at most ``nodes`` lattice nodes, padding included.

    Since padding counts, utterances of similar size come together, the largest ones first. An
    utterance that alone has more nodes is a part of its own.

    Parameters
    ----------
    frames, positions : [B], T and U + 1 of each utterance.
    """
    sizes = list(zip(frames.tolist(), positions.tolist(), strict=True))
    parts: list[list[int]] = []
    longest, widest = 0, 0
    for index in sorted(range(len(sizes)), key=lambda i: sizes[i][0] * sizes[i][1], reverse=True):
        longest, widest = max(longest, sizes[index][0]), max(widest, sizes[index][1])
        if not parts or (len(parts[-1]) + 1) * longest * widest > nodes:
            parts.append([])
            longest, widest = sizes[index]
        parts[-1].append(index)
    return [torch.tensor(part, device=frames.device) for part in parts]


@dataclass(frozen=True)
class _Part:
    """Some utterances of a batch, by their indices [b], and what they are to emit."""

    rows: Tensor
    lattice: Lattice

    def places(self) -> tuple[tuple, tuple]:
        """Where they lie in the projections [B, T, J] and [B, U + 1, J]."""
        frames, positions = int(self.lattice.frames.max()), self.lattice.labels.size(1) + 1
        return (self.rows, slice(frames)), (self.rows, slice(positions))

    def cut(self, encoded: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """Their projections."""
        frames, positions = self.places()
        return encoded[frames], predicted[positions]

    def loss(self, joint: nn.Module, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Summed loss from their projections."""
        logits = joint(encoded.unsqueeze(2), predicted.unsqueeze(1), no_projection=True)
        return _losses(logits, self.lattice).sum()


class _SplitLoss(torch.autograd.Function):
    """The mean loss over parts; its gradient is found along the way."""

    @staticmethod
    def forward(ctx, joint, parts, encoded, predicted, *weights):
        inputs = (encoded, predicted, *weights)
        # float32, since what a loss scale saves from half precision is scaled in ``backward``
        ctx.grads = [
            torch.zeros_like(tensor, dtype=torch.float32) if needed else None
            for tensor, needed in zip(inputs, ctx.needs_input_grad[2:], strict=True)
        ]
        ctx.size = len(encoded)
        with torch.enable_grad():
            total = sum(_accumulate(joint, part, inputs, ctx.grads) for part in parts)
        return total / ctx.size

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        scale = grad_output / ctx.size
        return (None, None, *(None if grad is None else grad * scale for grad in ctx.grads))


def _accumulate(
    joint: nn.Module, part: _Part, inputs: tuple[Tensor, ...], grads: list[Tensor | None]
) -> Tensor:
    """Summed loss of a part; its gradients are added to ``grads``, where there are any."""
    encoded, predicted = (tensor.detach().requires_grad_() for tensor in part.cut(*inputs[:2]))
    weights = inputs[2:]
    loss = part.loss(joint, encoded, predicted)
    scale = _gradient_scale(loss.device.type)
    wanted = [
        (leaf, grad, place)
        for leaf, grad, place in zip(
            (encoded, predicted, *weights), grads, (*part.places(), *[...] * len(weights)),
            strict=True,
        )
        if grad is not None
    ]  # fmt: skip
    found = torch.autograd.grad(loss * scale, [leaf for leaf, _, _ in wanted])
    for (_, grad, place), value in zip(wanted, found, strict=True):
        grad[place] += value.float() / scale  # no utterance comes twice
    return loss.detach()


def _losses(logits: Tensor, lattice: Lattice) -> Tensor:
    """[B] losses in float32 under any autocast."""
    labels, frames, tokens = (
        tensor.to(torch.int32) for tensor in (lattice.labels, lattice.frames, lattice.tokens)
    )
    with torch.autocast(device_type=logits.device.type, enabled=False):
        if logits.device.type == "cpu":
            return LatticeLoss.apply(logits.float(), labels, frames, tokens, lattice.blank)
        return rnnt_loss(
            logits.float(), labels, frames, tokens, blank=lattice.blank, reduction="none"
        )


def _gradient_scale(device: str) -> float:
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return HALF_PRECISION_SCALE if half else 1.0
