"""wav2vec 2.0 and relatives: convolutions on the waveform, then a transformer or conformer.

Legend: B batch, N samples, S teacher positions.
"""

import math
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.padding import UtteranceGroupNorm, keep_padding_out
from distill_asr.pretrained.request import ModelRequest


class ConvolutionalFamily(Family):
    """Convolutions on the waveform below the encoder: ``convolutions`` as (kernel, stride)."""

    def __init__(self, model: Any, extractor: Any, convolutions: list[tuple[int, int]]) -> None:
        self.width = model.config.hidden_size
        self.step_ms = 1000 * math.prod(stride for _, stride in convolutions) / SAMPLE_RATE
        self.facts = {"do_normalize": extractor.do_normalize}
        self.min_samples = 1
        for kernel, stride in reversed(convolutions):
            self.min_samples = (self.min_samples - 1) * stride + kernel
        self._convolutions = convolutions
        self._extractor = extractor
        self.model = model

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``; below 1 if it is too short."""
        for kernel, stride in self._convolutions:
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples

    def after_first(self, num_samples: int) -> int:
        """Positions behind the first convolution."""
        kernel, stride = self._convolutions[0]
        return (num_samples - kernel) // stride + 1

    def padded(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Values float32 [B, N], each utterance normalised by itself."""
        values = np.zeros((len(waveforms), max(map(len, waveforms))), dtype=np.float32)
        for row, waveform in zip(values, waveforms, strict=True):
            # one by one: the extractor's own padding would normalise in another way
            features = self._extractor(waveform, sampling_rate=SAMPLE_RATE)
            row[: len(waveform)] = features.input_values[0]
        return values


class WaveformFamily(ConvolutionalFamily):
    """data2vec-audio, HuBERT, UniSpeech(-SAT), wav2vec 2.0 (XLS-R too), its conformer, WavLM."""

    def __init__(self, model: Any, extractor: Any) -> None:
        kernels, strides = model.config.conv_kernel, model.config.conv_stride
        super().__init__(model, extractor, list(zip(kernels, strides, strict=True)))
        self.depth = model.config.num_hidden_layers
        self._lengths = keep_padding_out(model)

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "WaveformFamily":
        """Load the model and its Wav2Vec2FeatureExtractor."""
        require_layers(request, model_config.num_hidden_layers)
        if hasattr(model_config, "add_adapter"):
            model_config.add_adapter = False  # it sits above the hidden states
        normalize = getattr(model_config, "feat_extract_norm", "layer") == "layer"
        extractor = load_extractor(
            request,
            "Wav2Vec2FeatureExtractor",
            "if the model comes without one, make it with `transformers.Wav2Vec2FeatureExtractor("
            f"do_normalize={normalize}).save_pretrained(<model directory>)`, with do_normalize as "
            "in the model's training",
        )
        return cls(load_model(request, transformers.AutoModel, model_config, FILES), extractor)

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give values [B, N] and attention mask [B, N]; note the valid lengths."""
        samples = [len(waveform) for waveform in waveforms]
        values = self.padded(waveforms)
        self._lengths.first_conv = [self.after_first(count) for count in samples]
        self._lengths.frames = [self.num_positions(count) for count in samples]
        mask = np.arange(max(samples)) < np.array(samples)[:, None]
        tensors = {
            "input_values": torch.from_numpy(values),
            "attention_mask": torch.from_numpy(mask),
        }
        return tensors, self._lengths.frames

    def parts(self) -> list[nn.Module]:
        """Layers, and the convolutions but those whose norm goes from utterance to utterance."""
        front = [
            layer
            for layer in self.model.feature_extractor.conv_layers
            if not any(isinstance(module, UtteranceGroupNorm) for module in layer.modules())
        ]
        return [*front, *self.model.encoder.layers]

    def drop_layers_above(self, layer: int) -> None:
        """Free layers; the norm above them does not enter these families' hidden states."""
        del self.model.encoder.layers[max(1, layer) :]
