"""Make wav2vec 2.0-like models give the same states for an utterance alone and in a padded batch.

Two places let padding leak into valid frames. The group norm after the first convolution takes
its statistics over time, padding included. And convolutions in the encoder (the positional
embedding's, a conformer's) see, right of an utterance, what earlier layers made of the padding (a
bias, a norm), where an utterance alone sees zeros. Attention masks mend neither.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class ValidLengths:
    """Lengths of the batch in flight, which the patched layers read."""

    first_conv: list[int]  # frames after the first convolution
    frames: list[int] | Tensor  # frames that enter the encoder; a tensor where a graph is traced


class UtteranceGroupNorm(nn.Module):
    """A group norm over each utterance's valid frames alone; frames beyond become zero."""

    def __init__(self, norm: nn.GroupNorm, lengths: ValidLengths) -> None:
        super().__init__()
        self.norm = norm
        self.lengths = lengths

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise hidden [B, C, T]."""
        norm = self.norm
        output = torch.zeros_like(hidden)
        for row, valid in enumerate(self.lengths.first_conv):
            output[row, :, :valid] = functional.group_norm(
                hidden[row : row + 1, :, :valid], norm.num_groups, norm.weight, norm.bias, norm.eps
            )[0]
        return output


def keep_padding_out(model: nn.Module) -> ValidLengths:
    """Patch a model with ``feature_extractor`` and ``encoder`` in place.

    Returns
    -------
    The lengths to be set before each call of the model.
    """
    lengths = ValidLengths([], [])
    convolutions = model.feature_extractor.conv_layers
    for number, layer in enumerate(convolutions):
        if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
            if number != 0:
                raise NotImplementedError("group norm beyond the first convolution")
            layer.layer_norm = UtteranceGroupNorm(layer.layer_norm, lengths)
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv1d) and module.kernel_size != (1,):
            module.register_forward_pre_hook(lambda _, inputs: (_masked(inputs[0], lengths),))
    return lengths


def _masked(hidden: Tensor, lengths: ValidLengths) -> Tensor:
    """Zero hidden [B, C, T] beyond the valid frames."""
    valid = torch.as_tensor(lengths.frames, device=hidden.device)
    steps = torch.arange(hidden.shape[-1], device=hidden.device)
    return hidden * (steps < valid[:, None])[:, None]
