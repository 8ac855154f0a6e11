"""The FastConformer encoder of Parakeet and Canary: log-mel features, eightfold subsampling.

Legend: B batch, N samples, F feature vectors (10 ms), S teacher positions (80 ms).
"""

from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import ENCODER, FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.request import ModelRequest


class FastConformerFamily(Family):
    """Parakeet (CTC, RNN-T, TDT) and Canary: the encoder alone is loaded."""

    def __init__(self, model: Any, extractor: Any) -> None:
        config = model.config
        self.depth, self.width = config.num_hidden_layers, config.hidden_size
        step = extractor.hop_length * config.subsampling_factor
        self.step_ms = 1000 * step / SAMPLE_RATE
        # the deviation of a single vector, by which the extractor divides, is not defined
        self.min_samples = 2 * extractor.hop_length
        self.max_samples = step * config.max_position_embeddings
        described = ("feature_size", "hop_length", "n_fft", "win_length", "preemphasis")
        self.facts = {name: getattr(extractor, name) for name in described}
        self._extractor = extractor
        self.model = model

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "FastConformerFamily":
        """Load the encoder and its ParakeetFeatureExtractor."""
        config = getattr(model_config, "encoder_config", model_config)
        require_layers(request, config.num_hidden_layers)
        extractor = load_extractor(
            request,
            "ParakeetFeatureExtractor",
            "if the model comes without one, make it with `transformers.ParakeetFeatureExtractor("
            f"feature_size={config.num_mel_bins}).save_pretrained(<model directory>)`",
        )
        encoder = transformers.ParakeetEncoder
        model = load_model(request, encoder, config, FILES, key_mapping=ENCODER)
        return cls(model, extractor)

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``; 0 if it is too short."""
        if num_samples < self.min_samples:
            return 0
        features = torch.tensor(num_samples // self._extractor.hop_length)
        return int(self.model._get_subsampling_output_length(features))

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give log-mel features [B, F, mel bins] and attention mask [B, F]."""
        features = self._extractor(waveforms, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        tensors = {name: features[name] for name in ("input_features", "attention_mask")}
        return tensors, [self.num_positions(len(waveform)) for waveform in waveforms]

    def drop_layers_above(self, layer: int) -> None:
        """Free layers; one more is kept, which the library calls the last hidden state."""
        del self.model.layers[layer + 1 :]
