"""Whisper's encoder as a student's: the clip alone goes in, and lower layers may be frozen.

Legend: B batch, N samples, M mel bins, F feature vectors (10 ms), T frames (20 ms), D width.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.whisper import SUBSAMPLING, ClipOutput, embedded

_FFT, _HOP = 400, 160  # samples; the same in all Whispers
_STEP = _HOP * SUBSAMPLING  # samples in a frame
_LEAST = 1e-10  # power of a mel bin, where the logarithm is cut
_RANGE = 8.0  # decades below an utterance's loudest value


class WhisperInput:
    """Whisper's log-mel features of each utterance alone, zero behind it.

    Features equal those of transformers' ``WhisperFeatureExtractor``; positions are those of the
    window's beginning.

    Parameters
    ----------
    config : of the model.

    Attributes
    ----------
    min_samples, max_samples : shortest audio that gives a frame; longest, the model's window.
    """

    do_normalize = False

    def __init__(self, config: Any) -> None:
        self.min_samples, self.max_samples = 1, config.max_source_positions * _STEP
        filters = transformers.audio_utils.mel_filter_bank(
            num_frequency_bins=1 + _FFT // 2,
            num_mel_filters=config.num_mel_bins,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self._filters = torch.from_numpy(filters).to(torch.float32).T.contiguous()
        self._window = torch.hann_window(_FFT)

    def __call__(self, speech: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Arguments of the model for speech [B, N], and frames [B]."""
        frames = torch.div(lengths + _STEP - 1, _STEP, rounding_mode="floor")
        total = int(frames.max())
        valid = torch.arange(speech.size(1), device=speech.device) < lengths.unsqueeze(1)
        speech = speech.float().masked_fill(~valid, 0.0)
        # a frame of silence more, so that the vectors are those of the window
        padded = min((total + 1) * _STEP, self.max_samples)
        speech = nn.functional.pad(speech, (0, padded - speech.size(1)))
        with torch.autocast(speech.device.type, enabled=False):
            features = self._features(speech)[..., : SUBSAMPLING * total]
        vectors = torch.arange(features.size(2), device=speech.device)
        features = features.masked_fill(vectors >= SUBSAMPLING * frames[:, None, None], 0.0)
        mask = torch.arange(total, device=speech.device) < frames.unsqueeze(1)
        return {"input_features": features, "attention_mask": mask}, frames

    def _features(self, speech: Tensor) -> Tensor:
        """Log-mel features [B, M, F] of speech [B, N]."""
        window, filters = self._window.to(speech.device), self._filters.to(speech.device)
        spectrum = torch.stft(speech, _FFT, _HOP, window=window, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        logs = (filters @ power).clamp(min=_LEAST).log10()
        return (torch.maximum(logs, logs.amax((1, 2), keepdim=True) - _RANGE) + 4.0) / 4.0


class WhisperLayers(nn.Module):
    """Whisper's encoder; its lowest layers never train, and their states may come from disk.

    Parameters
    ----------
    encoder : of transformers.
    frozen : so many of the lowest layers, and what lies below them, stay as they are.
    """

    def __init__(self, encoder: Any, frozen: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self.frozen = frozen
        if frozen:
            encoder.requires_grad_(False)
            encoder.layers[frozen:].requires_grad_(True)
            encoder.layer_norm.requires_grad_(True)

    def train(self, mode: bool = True) -> WhisperLayers:
        """Frozen layers stay in evaluation mode."""
        super().train(mode)
        self.encoder.layers[: self.frozen].eval()
        return self

    def forward(
        self,
        attention_mask: Tensor,
        input_features: Tensor | None = None,
        states: Tensor | None = None,
        **_: Any,
    ) -> ClipOutput:
        """Encode features, or states of the frozen layers.

        Parameters
        ----------
        attention_mask : [B, T], true for frames of the utterance.
        input_features : [B, M, F]; not looked at where there are states.
        states : [B, T, D], output of the frozen layers.

        Raises
        ------
        ValueError : neither features nor states.
        """
        layers = self.encoder.layers
        if states is None:
            if input_features is None:
                raise ValueError("neither features nor states")
            with torch.no_grad() if self.frozen else nullcontext():
                states = embedded(self.encoder, input_features)
                for layer in layers[: self.frozen]:
                    states = layer(states, attention_mask[:, None, None])
        masks = self.training and self.config.apply_spec_augment
        hidden = self._masked(states, attention_mask) if masks else states
        for layer in layers[self.frozen :]:
            hidden = layer(hidden, attention_mask[:, None, None])
        return ClipOutput(self.encoder.layer_norm(hidden), ())

    @staticmethod
    def arguments(states: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """What ``forward`` takes where the frozen layers have run before.

        Parameters
        ----------
        states : [B, T, D], their output.
        lengths : [B], frames.
        """
        valid = torch.arange(states.size(1), device=states.device) < lengths.unsqueeze(1)
        return {"attention_mask": valid, "states": states}

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """As models of transformers have it."""
        self.encoder.gradient_checkpointing_enable(options)

    def _masked(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """SpecAugment on what enters the first layer that trains: zeros in spans of [B, T, D]."""
        config = self.config
        count, longest, width = hidden.shape
        if config.mask_time_prob > 0 and longest >= config.mask_time_length:
            spans = _spans(
                (count, longest), config.mask_time_prob, config.mask_time_length,
                valid, config.mask_time_min_masks,
            )  # fmt: skip
            hidden = hidden.masked_fill(spans.to(hidden.device)[:, :, None], 0.0)
        if config.mask_feature_prob > 0:
            bands = _spans(
                (count, width), config.mask_feature_prob, config.mask_feature_length,
                None, config.mask_feature_min_masks,
            )  # fmt: skip
            hidden = hidden.masked_fill(bands.to(hidden.device)[:, None], 0.0)
        return hidden


def _spans(
    shape: tuple[int, int], probability: float, length: int, valid: Tensor | None, least: int
) -> Tensor:
    """Bool [shape]: masked spans, drawn as in the library's wav2vec 2.0 and Whisper."""
    draw = transformers.models.whisper.modeling_whisper._compute_mask_indices
    attended = None if valid is None else valid.to(torch.int64).cpu()
    return torch.from_numpy(draw(shape, probability, length, attended, least))
