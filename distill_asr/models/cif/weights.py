"""Weight predictors: how much of a token is in each frame.

Legend: B utterances, T frames, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvWeights(nn.Module):
    """Convolution over neighbouring frames, then a linear layer (arXiv 2301.13003).

    No activation stands between the two.

    Parameters
    ----------
    input_size : D.
    kernel_size : frames, odd.
    dropout_rate : between the two.
    """

    def __init__(self, input_size: int, kernel_size: int = 3, dropout_rate: float = 0.2) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        self.conv = nn.Conv1d(input_size, input_size, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout_rate)
        self.project = _projection(input_size)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Predict the weight of each frame.

        Parameters
        ----------
        hidden : [B, T, D], output of the encoder.
        lengths : [B], valid frames.

        Returns
        -------
        [B, T], from 0 to 1, in float32 or better; 0 in the padding.
        """
        valid = _valid(hidden, lengths)
        # padding looks like the end of the utterance, with any content
        frames = hidden.masked_fill(~valid.unsqueeze(-1), 0.0)
        mixed = self.conv(frames.transpose(1, 2)).transpose(1, 2)
        return _weights(self.project(self.dropout(mixed)), valid)


class DenseWeights(nn.Module):
    """Linear, ReLU, linear: each frame by itself.

    Parameters
    ----------
    input_size : D.
    dropout_rate : before the last layer.
    """

    def __init__(self, input_size: int, dropout_rate: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(input_size, input_size),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            _projection(input_size),
        )

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Predict the weight of each frame.

        Parameters
        ----------
        hidden : [B, T, D], output of the encoder.
        lengths : [B], valid frames.

        Returns
        -------
        [B, T], from 0 to 1, in float32 or better; 0 in the padding.
        """
        return _weights(self.layers(hidden), _valid(hidden, lengths))


class LinearWeights(nn.Module):
    """One linear layer: each frame by itself.

    Parameters
    ----------
    input_size : D.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.project = _projection(input_size)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Predict the weight of each frame.

        Parameters
        ----------
        hidden : [B, T, D], output of the encoder.
        lengths : [B], valid frames.

        Returns
        -------
        [B, T], from 0 to 1, in float32 or better; 0 in the padding.
        """
        return _weights(self.project(hidden), _valid(hidden, lengths))


WEIGHT_PREDICTORS = {"conv": ConvWeights, "dense": DenseWeights, "linear": LinearWeights}


def _projection(input_size: int) -> nn.Linear:
    layer = nn.Linear(input_size, 1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _valid(hidden: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(hidden.size(1), device=hidden.device) < lengths.unsqueeze(1)


def _weights(logits: Tensor, valid: Tensor) -> Tensor:
    """[B, T, 1] -> [B, T]; half precision would round the sum over an utterance away."""
    logits = logits.squeeze(-1)
    weights = torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    return weights.masked_fill(~valid, 0.0)
