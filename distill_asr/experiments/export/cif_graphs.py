"""A CIF student as graphs: frames with their weights, and the decoder.

Integrate-and-fire itself is not a graph, since the number of tokens depends on the values. It is a
loop of ten lines in ``recognise.py``.

Legend: N utterances, T feature frames, C their width, F encoder frames, D width, U fired vectors,
V vocabulary, L layers, H heads, P positions before.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from distill_asr.experiments.export.graphs import sinusoids


class WeightedFrames(nn.Module):
    """Encoder and weight predictor: features [N, T, C] to frames and how much of a token each is.

    Parameters
    ----------
    frames : the graph of its encoder.
    weights : the student's weight predictor; it is copied.
    """

    def __init__(self, frames: nn.Module, weights: nn.Module) -> None:
        super().__init__()
        self.frames = frames
        self.weights = copy.deepcopy(weights)

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, and weigh each frame.

        Parameters
        ----------
        x : [N, T, C], features.
        x_lens : [N], feature frames.

        Returns
        -------
        States [N, F, D], weights [N, F], and encoder frames [N].
        """
        hidden, lengths = self.frames(x, x_lens)
        return hidden, self.weights(hidden, lengths), lengths


class AllAtOnce(nn.Module):
    """Decoder ``cif_nar``: fired vectors [N, U, D] to logits [N, U, V]."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(student.decoder)

    def forward(self, fired: Tensor, fired_lens: Tensor) -> Tensor:
        """Decode all tokens at once.

        Parameters
        ----------
        fired : [N, U, D], fired vectors.
        fired_lens : [N], vectors of each utterance.

        Returns
        -------
        Logits [N, U, V], zero beyond an utterance's vectors.
        """
        beyond = torch.arange(fired.size(1)) >= fired_lens[:, None]
        return self.decoder(fired, fired_lens)[0].masked_fill(beyond[..., None], 0.0)


class OneByOneDecoder(nn.Module):
    """Decoder ``cif_ar``: one token of each utterance, from the memory of those before."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(student.decoder)

    def forward(
        self, y: Tensor, previous: Tensor, current: Tensor, place: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step.

        Parameters
        ----------
        y : [N], the token before; the start token at first.
        previous, current : [N, D], the vector before, zeros at first, and this token's.
        place : [N], tokens before.
        past : [L, 2, N, H, P, D / H], keys and values of the positions before.

        Returns
        -------
        Logits [N, V], and what the next step is given as ``past``.
        """
        decoder, news = self.decoder, []
        x = decoder.joined(y, previous) + sinusoids(place, decoder.width)[0]
        x = x.unsqueeze(1)
        for number, layer in enumerate(decoder.layers):
            x, (keys, values) = layer(x, None, (past[number, 0], past[number, 1]))
            news.append(torch.stack([keys, values]))
        states = decoder.join_current(torch.cat([decoder.norm(x[:, 0]), current], dim=-1))
        return decoder.output(states), torch.stack(news)
