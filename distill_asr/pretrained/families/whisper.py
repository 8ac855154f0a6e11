"""The encoder of Whisper, which hears everything through a window of 30 s.

Legend: B batch, S teacher positions.
"""

import math
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.request import ModelRequest

SUBSAMPLING = 2  # of the encoder's convolutions
# where checkpoints keep the encoder: of the bare model, and of the one that transcribes
ENCODER = {r"^model\.encoder\.": "", r"^encoder\.": ""}


class WhisperEncoder(Family):
    """Whisper's encoder alone; the decoder is not even loaded.

    Audio is padded to the model's window with silence, as in its training, and the states are cut
    to the audio's own length: position s covers samples ``320 s`` to ``320 s + 319``. Longer audio
    than the window is for the caller to refuse (``max_samples``).

    Parameters
    ----------
    batch_samples : of padded audio in one call of the model; an utterance counts as a window.
    """

    def __init__(self, model: Any, extractor: Any, batch_samples: float) -> None:
        self.depth = model.config.encoder_layers
        self.width = model.config.d_model
        self._step = extractor.hop_length * SUBSAMPLING
        self.step_ms = 1000 * self._step / SAMPLE_RATE
        self.min_samples = 1
        self.max_samples = model.config.max_source_positions * self._step
        described = ("feature_size", "hop_length", "n_fft", "padding_value", "dither")
        self.facts = {name: getattr(extractor, name) for name in described}
        self._extractor = extractor
        self._at_once = max(1, math.floor(batch_samples / self.max_samples))
        self.model = model

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "WhisperEncoder":
        """Load the encoder and its WhisperFeatureExtractor."""
        require_layers(request, model_config.encoder_layers)
        extractor = load_extractor(
            request,
            "WhisperFeatureExtractor",
            "if the model comes without one, make it with `transformers.WhisperFeatureExtractor("
            f"feature_size={model_config.num_mel_bins}).save_pretrained(<model directory>)`",
        )
        encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder
        model = load_model(request, encoder, model_config, FILES, key_mapping=ENCODER)
        return cls(model, extractor, request.batch_seconds * SAMPLE_RATE)

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``."""
        return -(-num_samples // self._step)

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give log-mel features [B, mel bins, window]."""
        longest = max(map(len, waveforms))
        if longest > self.max_samples:
            raise ValueError(f"{longest} samples, longer than {self.max_samples}")
        features = self._extractor(
            waveforms,
            sampling_rate=SAMPLE_RATE,
            padding="max_length",
            max_length=self.max_samples,
            return_tensors="pt",
        )
        counts = [self.num_positions(len(waveform)) for waveform in waveforms]
        return {"input_features": features.input_features.to(torch.float32)}, counts

    def groups(self, waveforms: list[np.ndarray]) -> list[list[np.ndarray]]:
        """As many windows in one call as the batch's seconds allow."""
        starts = range(0, len(waveforms), self._at_once)
        return [waveforms[start : start + self._at_once] for start in starts]

    def drop_layers_above(self, layer: int) -> None:
        """Free layers."""
        # the norm above the last layer that is left enters the last hidden state: keep one more
        del self.model.layers[layer + 1 :]
