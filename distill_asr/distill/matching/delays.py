"""By how many frames a student may answer later than its teacher."""

from __future__ import annotations

import torch
from torch import Tensor


class Delays:
    """The delays that are tried, from ``delay - window`` to ``delay``.

    Parameters
    ----------
    delay : milliseconds by which the student lags, at most.
    window : milliseconds by which it may be earlier than that; the smallest loss counts.
    """

    def __init__(self, delay: float, window: float) -> None:
        if delay < 0 or window < 0:
            raise ValueError(f"delay and window must be 0 ms or more, not {delay} and {window}")
        self.delay = delay
        self.window = window

    def frames(self, step_ms: float, device: torch.device) -> Tensor:
        """The delays in frames of the student, int64 [K], ascending.

        Parameters
        ----------
        step_ms : duration of a student frame, ms.
        device : of the result.
        """
        first, last = round((self.delay - self.window) / step_ms), round(self.delay / step_ms)
        return torch.arange(first, last + 1, device=device)

    def answers(self, time: Tensor, lengths: Tensor, step_ms: float) -> tuple[Tensor, Tensor]:
        """Student frames that may answer each of N teacher frames.

        Parameters
        ----------
        time : [N], teacher frames at the student's rate.
        lengths : [N], student frames of the utterance each one is from.
        step_ms : duration of a student frame, ms.

        Returns
        -------
        which [M], frame [M] : answer m is student frame ``frame[m]`` to teacher frame
        ``which[m]``. Those outside of the utterance are left out.
        """
        frames = time.unsqueeze(1) + self.frames(step_ms, time.device)
        inside = (frames >= 0) & (frames < lengths.unsqueeze(1))
        which, _ = torch.nonzero(inside, as_tuple=True)
        return which, frames[inside]
