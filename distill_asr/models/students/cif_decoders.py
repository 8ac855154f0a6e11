"""Decoders of CIF students (arXiv 2301.13003): one token a fired vector, no cross-attention.

Legend: B batch, U tokens, D width, V vocabulary, K hypotheses, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ATTENTION = ("full", "triangle")
Past = tuple[Tensor, Tensor]  # keys and values of a layer, [K, H, tokens so far, D / H]


class CifARDecoder(nn.Module):
    """Autoregressive: token history and previous vector go in, the current vector joins late.

    Layers see the history only through themselves: position u is ``[y_{u-1}; c_{u-1}]``, and
    ``c_u`` is put beside their output right before the vocabulary. What stands there is the state
    that the tap ``decoder`` gives.

    Parameters
    ----------
    vocab_size : V.
    encoder_output_size : D of the fired vectors, and of the decoder.
    """

    autoregressive = True

    def __init__(
        self,
        vocab_size: int,
        encoder_output_size: int,
        attention_heads: int = 4,
        linear_units: int = 2048,
        num_blocks: int = 2,
        dropout_rate: float = 0.2,
        positional_dropout_rate: float = 0.1,
    ) -> None:
        super().__init__()
        width = encoder_output_size
        self.width = width
        self.embed = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.join_previous = nn.Linear(2 * width, width, bias=False)
        self.dropout = nn.Dropout(positional_dropout_rate)
        self.layers = _layers(num_blocks, width, attention_heads, linear_units, dropout_rate)
        self.norm = nn.LayerNorm(width)
        self.join_current = nn.Linear(2 * width, width, bias=False)
        self.output = _vocabulary_layer(width, vocab_size)

    def forward(self, cif: Tensor, lengths: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing.

        Parameters
        ----------
        cif : [B, U, D], fired vectors.
        lengths : [B]; what lies beyond has no influence, since no position looks ahead.
        history : [B, U], the token before each, the start token first.

        Returns
        -------
        Logits [B, U, V] and the states before the vocabulary layer [B, U, D].
        """
        previous = nn.functional.pad(cif, (0, 0, 1, 0))[:, :-1]
        x = self.joined(history, previous) + sinusoids(cif.size(1), self.width, cif)
        x, mask = self.dropout(x), _no_look_ahead(cif)
        for layer in self.layers:
            x, _ = layer(x, mask)
        states = self.join_current(torch.cat([self.norm(x), cif], dim=-1))
        return self.output(states), states

    def start(self, cif: Tensor) -> tuple[Tensor, Tensor, list[Past | None]]:
        """What ``step`` needs for one utterance's vectors [U, D]."""
        places = sinusoids(cif.size(0), self.width, cif)
        return cif, places, [None] * len(self.layers)

    def step(self, memory: tuple, index: int, last: Tensor) -> tuple[Tensor, tuple]:
        """Logits [K, V] of token ``index`` after the tokens ``last`` [K], and the new memory.

        Parameters
        ----------
        memory : of the K hypotheses, as ``start`` or the last step gave it.
        index : of the token, from 0.
        last : [K], ids of the tokens before.
        """
        cif, places, pasts = memory
        count = len(last)
        previous = cif[index - 1] if index else torch.zeros_like(cif[0])
        x = self.joined(last, previous.expand(count, -1)) + places[index]
        x, news = x.unsqueeze(1), []
        for layer, past in zip(self.layers, pasts, strict=True):
            x, past = layer(x, None, past)
            news.append(past)
        current = cif[index].expand(count, -1)
        states = self.join_current(torch.cat([self.norm(x[:, 0]), current], dim=-1))
        return self.output(states), (cif, places, news)

    def select(self, memory: tuple, rows: Tensor) -> tuple:
        """Memory of the hypotheses ``rows`` [K'] (indices of K), after a step."""
        cif, places, pasts = memory
        return cif, places, [(keys[rows], values[rows]) for keys, values in pasts]

    def joined(self, tokens: Tensor, previous: Tensor) -> Tensor:
        """Input of the layers without positions, [..., D].

        Parameters
        ----------
        tokens : [...], ids of the tokens before.
        previous : [..., D], fired vectors before.
        """
        embedded = self.embed(tokens) * math.sqrt(self.width)
        return self.join_previous(torch.cat([embedded, previous], dim=-1))


class CifNARDecoder(nn.Module):
    """Not autoregressive: all tokens at once from the fired vectors; the history is not looked at.

    Parameters
    ----------
    vocab_size : V.
    encoder_output_size : D of the fired vectors, and of the decoder.
    attention : ``full``, or ``triangle``: each position sees those before it only.
    positions : add sinusoids.
    """

    autoregressive = False

    def __init__(
        self,
        vocab_size: int,
        encoder_output_size: int,
        attention_heads: int = 4,
        linear_units: int = 2048,
        num_blocks: int = 2,
        dropout_rate: float = 0.2,
        attention: str = "full",
        positions: bool = True,
    ) -> None:
        super().__init__()
        if attention not in ATTENTION:
            raise ValueError(f"attention must be one of {ATTENTION}, not {attention!r}")
        width = encoder_output_size
        self.width = width
        self.attention = attention
        self.positions = positions
        self.layers = _layers(num_blocks, width, attention_heads, linear_units, dropout_rate)
        self.norm = nn.LayerNorm(width)
        self.output = _vocabulary_layer(width, vocab_size)

    def forward(
        self, cif: Tensor, lengths: Tensor, history: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all tokens at once.

        Parameters
        ----------
        cif : [B, U, D], fired vectors.
        lengths : [B], tokens.
        history : not used.

        Returns
        -------
        Logits [B, U, V] and the states before the vocabulary layer [B, U, D].
        """
        x = cif + sinusoids(cif.size(1), self.width, cif) if self.positions else cif
        mask = _no_look_ahead(cif) if self.attention == "triangle" else _within(cif, lengths)
        for layer in self.layers:
            x, _ = layer(x, mask)
        states = self.norm(x)
        return self.output(states), states

    def start(self, cif: Tensor) -> Tensor:
        """All logits [U, V] of one utterance's vectors [U, D]."""
        lengths = torch.tensor([cif.size(0)], device=cif.device)
        return self(cif.unsqueeze(0), lengths)[0][0]

    def step(self, memory: Tensor, index: int, last: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [K, V] of token ``index``, which do not depend on the tokens ``last`` [K].

        Parameters
        ----------
        memory : [U, V], as ``start`` gave it; it is returned unchanged.
        """
        return memory[index].expand(len(last), -1), memory

    def select(self, memory: Tensor, rows: Tensor) -> Tensor:
        """Memory [U, V] of the hypotheses ``rows`` [K], which is equal for all."""
        return memory


CIF_DECODERS = {"cif_ar": CifARDecoder, "cif_nar": CifNARDecoder}


class SelfAttentionLayer(nn.Module):
    """Pre-norm Transformer layer that can remember the positions before.

    Parameters
    ----------
    width : D, a multiple of ``heads``.

    Raises
    ------
    ValueError : it is not.
    """

    def __init__(self, width: int, heads: int, linear_units: int, dropout_rate: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention_heads: {heads} do not divide the width {width}")
        self.heads = heads
        self.dropout_rate = dropout_rate
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, linear_units),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(linear_units, width),
        )
        self.dropout = nn.Dropout(dropout_rate)

    def forward(
        self, x: Tensor, mask: Tensor | None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """Run the layer.

        Parameters
        ----------
        x : [B, U, D].
        mask : [U, U] or [B, 1, U, U], True where a position (row) sees another; None: all.
        past : keys and values [B, H, P, D / H] of the positions before; None: there are none.

        Returns
        -------
        [B, U, D], and keys and values with those of ``x`` appended.
        """
        parts = self.query_key_value(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, keys, values = parts.permute(2, 0, 3, 1, 4)  # each [B, H, U, D / H]
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        rate = self.dropout_rate if self.training else 0.0
        seen = nn.functional.scaled_dot_product_attention(query, keys, values, mask, rate)
        x = x + self.dropout(self.attended(seen.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(x)), (keys, values)


def sinusoids(count: int, width: int, like: Tensor) -> Tensor:
    """Positions 0 ... count - 1 as sines and cosines, [count, width] (arXiv 1706.03762).

    Parameters
    ----------
    like : a tensor of the wanted device and dtype.
    """
    place = torch.arange(count, device=like.device, dtype=torch.float32).unsqueeze(1)
    half = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angle = place * torch.exp(half * (-math.log(10000.0) / width))
    waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return waves[:, :width].to(like.dtype)


def _layers(count: int, width: int, heads: int, linear_units: int, rate: float) -> nn.ModuleList:
    return nn.ModuleList(SelfAttentionLayer(width, heads, linear_units, rate) for _ in range(count))


def _vocabulary_layer(width: int, vocab_size: int) -> nn.Linear:
    layer = nn.Linear(width, vocab_size, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    return layer


def _no_look_ahead(cif: Tensor) -> Tensor:
    """[U, U], each position attends to itself and those before."""
    place = torch.arange(cif.size(1), device=cif.device)
    return place <= place[:, None]


def _within(cif: Tensor, lengths: Tensor) -> Tensor:
    """[B, 1, 1, U], every position attends to the valid ones; to all if none is valid."""
    place = torch.arange(cif.size(1), device=cif.device)
    seen = (place < lengths.unsqueeze(1)) | (lengths == 0).unsqueeze(1)
    return seen[:, None, None]
