"""Continuous integrate-and-fire (arXiv 1905.11235), as arXiv 2301.13003 has it.

Frames carry weights. They are added up; a token ends ("fires") where the sum is full, and what is
left of that frame's weight begins the next one. A token's vector is the weighted sum of its frames.
The published rule goes frame by frame; here the same numbers come from cumulative sums.

Legend: B utterances, T frames, U tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

THRESHOLD = 0.99  # a token fires where its weight reaches this; it is then counted as 1
TAIL_THRESHOLD = 0.5
# of the published code
SCALE_EPS = 1e-8
TAIL_EPS = 1e-10
ROUNDING = 1e-6  # a tail must exceed its threshold by more, so that 0.5 does not exceed 0.5


@dataclass(frozen=True)
class _Shares:
    """What frames give to tokens: one share to the token that is open, at a fire one to the next.

    In the order of frames, and of shares in a frame, the token never goes back.
    """

    token: Tensor  # [B, T, 2], int64
    weight: Tensor  # [B, T, 2], float64
    used: Tensor  # [B, T, 2], bool; False for a missing share


@dataclass(frozen=True)
class CifOutput:
    """Tokens of a batch."""

    states: Tensor  # [B, U, D], zero beyond lengths; U is the longest of them and may be 0
    lengths: Tensor  # [B], int64, tokens; 0 where nothing fires
    quantity: Tensor  # [B], sum of the weights before scaling
    shares: _Shares

    @property
    def weights(self) -> Tensor:
        """Share of each frame in each token, [B, U, T].

        Made anew at each call, since it is the one large thing here: 2.7 GB for an hour of 80 ms
        frames. Nothing else needs it.
        """
        batch, frames, _ = self.shares.token.shape
        tokens = self.states.size(1)
        weights = self.shares.weight.to(self.quantity.dtype)
        dense = weights.new_zeros(batch, tokens, frames)
        if tokens == 0:
            return dense
        weights = weights.masked_fill(~self.shares.used, 0.0)
        token = self.shares.token.clamp(max=tokens - 1)
        return dense.scatter_add_(1, token.transpose(1, 2), weights.transpose(1, 2))

    @property
    def frames(self) -> Tensor:
        """Frame in which each token ends, counted from 0, [B, U]; 0 beyond lengths."""
        ends = self.lengths.new_zeros(self.states.shape[:2])
        if ends.size(1) == 0:
            return ends
        token = self.shares.token.clamp(max=ends.size(1) - 1)
        frame = torch.arange(token.size(1), device=token.device).unsqueeze(1).expand_as(token)
        frame = frame.masked_fill(~self.shares.used, 0)
        return ends.scatter_reduce_(1, token.flatten(1), frame.flatten(1), "amax")


def integrate_and_fire(
    hidden: Tensor,
    alpha: Tensor,
    lengths: Tensor,
    target_lengths: Tensor | None = None,
    threshold: float = THRESHOLD,
    tail_threshold: float = TAIL_THRESHOLD,
) -> CifOutput:
    """Integrate frames into tokens; differentiable in ``hidden`` and ``alpha``.

    A frame ends one token at most. What lies beyond ``lengths`` is never looked at.

    Parameters
    ----------
    hidden : [B, T, D], the frames.
    alpha : [B, T], their weights, not negative.
    lengths : [B], valid frames.
    target_lengths : [B], training: tokens of the transcript, its end token counted. The weights are
        scaled to sum up to it, and what is left after the last fire is dropped. An utterance gets
        fewer tokens only where its weights are too late for one fire a frame. Without them
        (inference) nothing is scaled.
    threshold : a token fires where its weight reaches this; the bookkeeping counts it as 1.
    tail_threshold : inference: weight left at the end that, when exceeded, makes a last token,
        brought to weight 1.

    Raises
    ------
    ValueError : ``hidden`` and ``alpha`` differ in batch size or frames.
    """
    if alpha.shape != hidden.shape[:2]:
        raise ValueError(f"hidden {tuple(hidden.shape)} and alpha {tuple(alpha.shape)} do not fit")
    valid = torch.arange(alpha.size(1), device=alpha.device) < lengths.unsqueeze(1)
    # float32 would miscount after some thousand tokens
    weights = alpha.double().masked_fill(~valid, 0.0)
    quantity = weights.sum(dim=1)
    if target_lengths is not None:
        weights = weights * (target_lengths / (quantity + SCALE_EPS)).unsqueeze(1)
    totals = nn.functional.pad(weights.cumsum(dim=1), (1, 0))  # [B, T + 1]
    fired = count_fires(totals, valid, threshold)
    shares, tokens = frame_shares(weights, totals, fired, valid), fired[:, -1]
    left = totals[:, -1] - tokens
    limit = tail_threshold + ROUNDING if target_lengths is None else float("inf")
    kept = left > limit
    shares = _close_tail(shares, tokens, left, kept)
    tokens = tokens + kept
    states = sum_shares(hidden, shares, int(tokens.max()) if tokens.numel() else 0)
    precision = torch.promote_types(alpha.dtype, torch.float32)
    return CifOutput(states.to(hidden.dtype), tokens, quantity.to(precision), shares)


def count_fires(
    totals: Tensor, valid: Tensor, threshold: float, fired_before: Tensor | int = 0
) -> Tensor:
    """Tokens that have fired before the first frame and after each, [B, T + 1].

    Up to frame t, counted from 1, there are ``n_t = t + min(0, min_{s <= t}(floor(c_s + 1 -
    threshold) - s))``: as many as the weight gives, unless one a frame is too slow for that.

    Parameters
    ----------
    totals : [B, T + 1], weight before the first frame and after each, never falling.
    valid : [B, T], frames that may fire.
    fired_before : [B] or a number, tokens fired before the first frame.
    """
    fired_before = torch.as_tensor(fired_before, device=totals.device).reshape(-1, 1)
    reached = torch.floor(totals.detach() + (1.0 - threshold)).to(torch.int64) - fired_before
    frame = torch.arange(totals.size(1), device=totals.device)
    late = torch.where(frame > 0, reached - frame, 0).cummin(dim=1).values
    fired = fired_before + frame + late
    # the padding carries no weight, but a weight too late would still fire there
    fires = nn.functional.pad((fired.diff(dim=1) > 0) & valid, (1, 0))
    return fired_before + fires.cumsum(dim=1)


def frame_shares(weights: Tensor, totals: Tensor, fired: Tensor, valid: Tensor) -> _Shares:
    """Divide the weight of frames where a token fires; all other frames give it whole.

    Parameters
    ----------
    weights, valid : [B, T].
    totals, fired : [B, T + 1], before the first frame and after each.
    """
    before, after = fired[:, :-1], fired[:, 1:]
    fires = after > before
    # either share may be negative: a token may fire with less than 1, or long after it was full
    closing = torch.where(fires, after - totals[:, :-1], weights)
    opening = torch.where(fires, totals[:, 1:] - after, 0.0)
    return _Shares(
        torch.stack([before, before + 1], dim=-1),
        torch.stack([closing, opening], dim=-1),
        torch.stack([valid, fires], dim=-1),
    )


def _close_tail(shares: _Shares, open_token: Tensor, left: Tensor, kept: Tensor) -> _Shares:
    """Bring the open token of each utterance, [B], to weight 1, or drop it where not kept."""
    in_tail = shares.token == open_token.reshape(-1, 1, 1)
    # 1 where dropped, so that no infinity meets the gradient
    divisor = torch.where(kept, left + TAIL_EPS, 1.0).reshape(-1, 1, 1)
    return _Shares(
        shares.token,
        torch.where(in_tail, shares.weight / divisor, shares.weight),
        shares.used & (~in_tail | kept.reshape(-1, 1, 1)),
    )


def sum_shares(hidden: Tensor, shares: _Shares, tokens: int) -> Tensor:
    """Weighted sums of frames, [B, tokens, D], in float32 or better.

    Each frame is read once and no [B, tokens, T] is made, forward or backward.

    Parameters
    ----------
    hidden : [B, T, D], the frames.
    shares : what each frame gives to which tokens.
    tokens : U, the largest number of tokens in the batch.
    """
    batch, frames, width = hidden.shape
    precision = torch.promote_types(hidden.dtype, torch.float32)
    if tokens == 0:
        return hidden[:, :0].to(precision)
    first = tokens * torch.arange(batch, device=hidden.device).reshape(-1, 1, 1)
    row = (first + shares.token)[shares.used]
    frame = torch.arange(batch * frames, device=hidden.device).reshape(batch, frames, 1)
    sums = nn.functional.embedding_bag(
        frame.expand_as(shares.used)[shares.used],
        hidden.flatten(0, 1).to(precision),
        torch.searchsorted(row, torch.arange(batch * tokens, device=hidden.device)),
        mode="sum",
        per_sample_weights=shares.weight[shares.used].to(precision),
    )
    return sums.reshape(batch, tokens, width)
