"""A trained encoder as the front-end of another student: its lower layers, frozen.

Legend: B batch, N samples, T frames, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.tasks.asr import encoder_choices, frontend_choices, normalize_choices
from torch import Tensor

from distill_asr.models.encoders.hf_speech import HFSpeechEncoder

NAME = "trained_encoder"
FEATURES = "kaldi_fbank"  # where `frontend` is not given
_PARTS = ("frontend", "normalize", "encoder")  # with a `_conf` each


class TrainedEncoder(AbsFrontend):
    """Front-end, normalisation and encoder of a trained recogniser, in front of a new student.

    They stay as they were trained: in evaluation mode, without gradients. The student keeps them in
    its checkpoint and recognises from audio. In training it may read their states from disk
    instead, computed once (``cache``): states [B, T, D] pass through.

    The weights come from the first training, ``distill-asr train --init``. ESPnet's SpecAugment,
    which follows a front-end, masks the states.

    Parameters
    ----------
    encoder, encoder_conf : as in the config of the first training; so are the next four.
    frontend, frontend_conf : of the features; null for an encoder that reads audio, as hf_speech.
    normalize, normalize_conf : without a file of statistics.
    average : so many frames become their mean.
    cache : ``distill-asr train`` computes the states of all utterances before the first step and
        reads them from there.
    fs : sampling rate in Hz.
    """

    def __init__(
        self,
        encoder: str,
        encoder_conf: dict[str, Any] | None = None,
        frontend: str | None = FEATURES,
        frontend_conf: dict[str, Any] | None = None,
        normalize: str | None = None,
        normalize_conf: dict[str, Any] | None = None,
        average: int = 1,
        cache: bool = False,
        fs: int = 16000,
    ) -> None:
        super().__init__()
        if average < 1:
            raise ValueError(f"average: {average}, expected 1 or more frames")
        if (normalize_conf or {}).get("stats_file"):
            raise ValueError("normalize_conf: a file of statistics; use normalize: utterance_mvn")
        self.average = average
        self._encoder_conf = encoder_conf or {}
        self.cache = cache
        self.frontend = self.normalize = None
        width = 1  # of audio
        if frontend is not None:
            self.frontend = frontend_choices.get_class(frontend)(**(frontend_conf or {}))
            width = self.frontend.output_size()
        if normalize is not None:
            self.normalize = normalize_choices.get_class(normalize)(**(normalize_conf or {}))
        self.encoder = encoder_choices.get_class(encoder)(input_size=width, **self._encoder_conf)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> TrainedEncoder:
        """Stay in evaluation mode, also when the student trains."""
        return super().train(False)

    def output_size(self) -> int:
        """D."""
        return self.encoder.output_size()

    def portable_conf(self) -> dict[str, Any]:
        """What changes in ``frontend_conf`` so that it builds this encoder from itself alone."""
        if not isinstance(self.encoder, HFSpeechEncoder):
            return {}
        return {"encoder_conf": {**self._encoder_conf, **self.encoder.portable_conf()}}

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States of audio.

        Parameters
        ----------
        input : [B, N] samples; or states [B, T, D], which only become their means.
        input_lengths : [B].

        Returns
        -------
        [B, T, D] and frames [B].
        """
        states, lengths = input, input_lengths
        if input.dim() == 2:
            with torch.no_grad():
                states, lengths = self.encoded(input, input_lengths)
        return averaged(states, lengths, self.average)

    def encoded(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, T, D] of audio, before they become means, and their frames [B].

        Parameters
        ----------
        speech : [B, N].
        lengths : [B], samples.
        """
        features = speech
        if self.frontend is not None:
            features, lengths = self.frontend(speech, lengths)
        if self.normalize is not None:
            features, lengths = self.normalize(features, lengths)
        states, lengths, _ = self.encoder(features, lengths)
        return (states[0] if isinstance(states, tuple) else states), lengths


def averaged(states: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Means of ``count`` adjacent frames; the last one of an utterance may be of fewer.

    Parameters
    ----------
    states : [B, T, D].
    lengths : [B].
    """
    if count == 1:
        return states, lengths
    valid = torch.arange(states.size(1), device=states.device) < lengths.unsqueeze(1)
    missing = -states.size(1) % count
    weights = torch.nn.functional.pad(valid.to(states.dtype), (0, missing)).unflatten(
        1, (-1, count)
    )
    kept = torch.nn.functional.pad(states * valid.unsqueeze(2), (0, 0, 0, missing))
    sums = kept.unflatten(1, (-1, count)).sum(dim=2)
    means = sums / weights.sum(dim=2).clamp(min=1).unsqueeze(2)
    return means, torch.div(lengths + count - 1, count, rounding_mode="floor")
