"""Integrate-and-fire over audio that is still coming in."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distill_asr.models.cif.integrate_and_fire import (
    ROUNDING,
    TAIL_EPS,
    TAIL_THRESHOLD,
    THRESHOLD,
    count_fires,
    frame_shares,
    sum_shares,
)


class StreamingCif:
    """One utterance in chunks of any size, for inference: the tokens are those of the whole.

    Between chunks it keeps the weight so far, the tokens fired and the token that is open.
    Legend: T frames of the chunk, U tokens that end in it, D width.

    Parameters
    ----------
    threshold, tail_threshold : see ``integrate_and_fire``.
    """

    def __init__(
        self, threshold: float = THRESHOLD, tail_threshold: float = TAIL_THRESHOLD
    ) -> None:
        self.threshold = threshold
        self.tail_threshold = tail_threshold
        self._total = 0.0
        self._fired = 0
        self._open: Tensor | None = None  # [1, 1, D], sum of the open token

    @torch.no_grad()
    def push(self, hidden: Tensor, alpha: Tensor) -> Tensor:
        """Take the next frames, give the tokens that end in them.

        Parameters
        ----------
        hidden : [T, D], the frames.
        alpha : [T], their weights, not negative.

        Returns
        -------
        [U, D] in float32 or better; U may be 0.
        """
        hidden, weights = hidden.unsqueeze(0), alpha.double().unsqueeze(0)
        totals = torch.cat([weights.new_tensor([[self._total]]), weights], dim=1).cumsum(dim=1)
        valid = torch.ones_like(weights, dtype=torch.bool)
        fired = count_fires(totals, valid, self.threshold, self._fired)
        shares = frame_shares(weights, totals, fired, valid)
        shares = replace(shares, token=shares.token - self._fired)
        tokens = int(fired[0, -1]) - self._fired
        sums = sum_shares(hidden, shares, tokens + 1)
        if self._open is not None:
            sums[:, :1] += self._open
        self._total, self._fired = float(totals[0, -1]), self._fired + tokens
        self._open = sums[:, tokens:]
        return sums[0, :tokens]

    @torch.no_grad()
    def finish(self) -> Tensor:
        """End the audio; return the open token, if its weight exceeds the tail threshold.

        Returns
        -------
        [1, D] or [0, D] in float32 or better. The next ``push`` begins another utterance.

        Raises
        ------
        ValueError : without a ``push`` the width is unknown.
        """
        if self._open is None:
            raise ValueError("finish() needs a push() before it, which may be empty")
        left = self._total - self._fired
        kept = int(left > self.tail_threshold + ROUNDING)
        token = self._open[0, :kept] / (left + TAIL_EPS)
        self._total, self._fired, self._open = 0.0, 0, None
        return token
