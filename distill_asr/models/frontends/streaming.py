"""Kaldi's features of audio that comes in pieces.

Legend: N samples, T frames, M mel bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.models.frontends.kaldi_fbank import KaldiFbank


class FbankStream:
    """The frames of ``KaldiFbank``, each given as soon as all of its window has come.

    The front-end works on a short stretch of audio that begins some frames before the next one.
    What it mirrors at an edge of that stretch reaches no frame that is given, unless the edge is
    one of the audio itself.

    Parameters
    ----------
    frontend : in evaluation mode.
    """

    def __init__(self, frontend: KaldiFbank) -> None:
        window, shift = frontend.window_size, frontend.shift
        self._frontend = frontend
        # from the begin of the stretch to the end of the first frame's window
        self._reach = window if frontend.snip_edges else shift // 2 - window // 2 + window
        # one window, so that mirroring at the end stays within the stretch
        self._overlap = 0 if frontend.snip_edges else -(-window // shift)
        self._audio = torch.zeros(0)
        self._given = 0  # frames of the stretch that were given already

    def push(self, samples: Tensor, final: bool = False) -> Tensor:
        """Take [N] samples; give [1, T, M], the frames that are complete by now.

        Parameters
        ----------
        final : nothing comes after these: what is left is mirrored, or cut, as in ``KaldiFbank``.
        """
        self._audio = torch.cat([self._audio.to(samples.device), samples])
        length = torch.tensor([len(self._audio)], device=samples.device)
        shift = self._frontend.shift
        if final:
            complete = int(self._frontend.num_frames(length))
        else:
            complete = (len(self._audio) - self._reach) // shift + 1
        if complete <= self._given:
            return samples.new_zeros(1, 0, self._frontend.n_mels)
        feats, _ = self._frontend(self._audio[None], length)
        feats = feats[:, self._given : complete].clone()
        passed = max(0, complete - self._overlap)
        self._audio = self._audio[passed * shift :].clone()  # a view would keep all of it
        self._given = complete - passed
        return feats
