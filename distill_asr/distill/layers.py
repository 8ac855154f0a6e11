"""Several layers of a teacher in one block: some of them chosen, or mixed.

Legend: L layers that targets keep apart (`combine: stack`), E width of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill_asr.distill.block import DistillBlock


class LayerMixture(nn.Module):
    """Weighted mean of layers that lie side by side in the width of targets.

    Part of a distiller, so that learnt weights are dropped at export as its head is.

    Parameters
    ----------
    held : the L layers, in the order of the targets.
    weights : of the layers that are mixed; they are divided by their sum.
    learnt : the weights are those at the start; a softmax over parameters from then on.
    """

    def __init__(
        self, held: Sequence[int], weights: Mapping[int, float], learnt: bool = False
    ) -> None:
        super().__init__()
        self.layers = tuple(weights)
        self.count = len(held)
        self.learnt = learnt
        self.places = [list(held).index(layer) for layer in weights]
        shares = torch.tensor(list(weights.values()), dtype=torch.float32)
        shares = shares / shares.sum()
        if learnt:
            self.logits = nn.Parameter(shares.log())
        else:  # comes from the config at every start
            self.register_buffer("fixed", shares, persistent=False)

    @property
    def weights(self) -> Tensor:
        """Share of each layer, float32; their sum is 1."""
        return self.logits.softmax(dim=0) if self.learnt else self.fixed

    def forward(self, values: Tensor) -> Tensor:
        """[..., L * E] -> [..., E]."""
        apart = values.unflatten(-1, (self.count, -1))
        if len(self.places) == 1:
            return apart[..., self.places[0], :]
        return (apart[..., self.places, :] * self.weights.unsqueeze(-1)).sum(dim=-2)

    def shares(self) -> dict[str, float]:
        """Weights that are learnt, by layer, for the log; nothing where they are fixed."""
        if not self.learnt:
            return {}
        named = zip(self.layers, self.weights.tolist(), strict=True)
        return {f"layer{layer}": weight for layer, weight in named}


def layer_mixture(block: DistillBlock, held: Sequence[int]) -> LayerMixture | None:
    """The choice or mixture of layers of a block; None where it takes the targets as they are.

    Parameters
    ----------
    held : layers that the targets keep apart.

    Raises
    ------
    ValueError : it names layers that are not there.
    """
    if not block.mixes_layers:
        return None
    weights = block.layer_weights(held)
    if unknown := [layer for layer in weights if layer not in held] or not held:
        raise ValueError(f"layers: {unknown} requested, but the targets hold {list(held)} apart")
    return LayerMixture(held, weights, block.learn_layers)


def layer_problems(block: DistillBlock, layers: Sequence[int], combine: str | None) -> list[str]:
    """Why a teacher's targets cannot give a block its layers.

    Parameters
    ----------
    layers, combine : of the targets, from their manifest or the teacher's file.
    """
    if not block.mixes_layers:
        return []
    asked = list(block.layer_weights(layers))
    way_out = f"dump this teacher with `layers: {sorted({*layers, *asked})}` and `combine: stack`"
    if not layers:
        return ["layers: this teacher has no hidden layers; remove the key"]
    if len(layers) > 1 and combine != "stack":
        return [f"layers: the targets hold the {combine} of layers {list(layers)}; {way_out}"]
    if absent := [layer for layer in asked if layer not in layers]:
        return [f"layers: {absent} not among those of the targets, {list(layers)}; {way_out}"]
    if block.learn_layers and len(asked) < 2:
        return [f"learn_layers: the targets hold layer {layers[0]} alone; dump several"]
    return []
