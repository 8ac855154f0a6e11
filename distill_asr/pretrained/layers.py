"""Which hidden states a teacher gives. Legend: B batch, S teacher positions, E teacher width."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill_asr.pretrained.request import ModelRequest


@dataclass(frozen=True)
class LayerChoice:
    """Hidden states of some layers, averaged or side by side.

    Layer 0 is what enters the first layer, layer n what leaves the n-th; the last one is the
    model's output, i.e. after the final norm where the model has one.
    """

    layers: tuple[int, ...]
    combine: str | None  # mean | stack; None for one layer
    depth: int  # of the whole model

    @classmethod
    def of(cls, request: ModelRequest, depth: int) -> "LayerChoice":
        """The choice of a request, in a model of ``depth`` layers."""
        return cls(request.layers, request.combine, depth)

    def width(self, one: int) -> int:
        """E, where one layer is ``one`` wide."""
        return one * (len(self.layers) if self.combine == "stack" else 1)

    def select(self, output: Any) -> list[Tensor]:
        """Give each chosen layer [B, S, width] from what a transformers model returned."""
        return [
            output.last_hidden_state if layer == self.depth else output.hidden_states[layer]
            for layer in self.layers
        ]

    def __call__(self, output: Any) -> Tensor:
        """Give the chosen layers as one tensor [B, S, E]."""
        chosen = self.select(output)
        if self.combine == "mean":
            return torch.stack(chosen).mean(dim=0)
        return torch.cat(chosen, dim=-1)
