"""The encoder of Moonshine: three convolutions on the waveform, then a transformer.

Legend: B batch, N samples, S teacher positions (24 ms).
"""

import math
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import ENCODER, FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.padding import UtteranceGroupNorm, ValidLengths
from distill_asr.pretrained.request import ModelRequest


class MoonshineFamily(Family):
    """Moonshine's encoder alone.

    Its group norm takes statistics over time, and its mask counts positions that reach behind the
    audio; both are mended here, so that an utterance's states do not depend on its batch.
    """

    def __init__(self, model: Any, extractor: Any) -> None:
        self.depth = model.config.encoder_num_hidden_layers
        self.width = model.config.hidden_size
        layers = (model.conv1, model.conv2, model.conv3)
        self._convolutions = [(conv.kernel_size[0], conv.stride[0]) for conv in layers]
        self._step = math.prod(stride for _, stride in self._convolutions)
        self.step_ms = 1000 * self._step / SAMPLE_RATE
        self.min_samples = 1
        for kernel, stride in reversed(self._convolutions):
            self.min_samples = (self.min_samples - 1) * stride + kernel
        self.facts = {"do_normalize": extractor.do_normalize}
        self._extractor = extractor
        self._lengths = ValidLengths([], [])
        model.groupnorm = UtteranceGroupNorm(model.groupnorm, self._lengths)
        self.model = model

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "MoonshineFamily":
        """Load the encoder and its Wav2Vec2FeatureExtractor."""
        require_layers(request, model_config.encoder_num_hidden_layers)
        extractor = load_extractor(
            request,
            "Wav2Vec2FeatureExtractor",
            "if the model comes without one, make it with `transformers.Wav2Vec2FeatureExtractor("
            "do_normalize=False).save_pretrained(<model directory>)`",
        )
        encoder = transformers.models.moonshine.modeling_moonshine.MoonshineEncoder
        model = load_model(request, encoder, model_config, FILES, key_mapping=ENCODER)
        return cls(model, extractor)

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``; below 1 if it is too short."""
        for kernel, stride in self._convolutions:
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give values [B, N] and attention mask [B, N]; note the valid lengths."""
        samples = [len(waveform) for waveform in waveforms]
        values = np.zeros((len(samples), max(samples)), dtype=np.float32)
        for row, waveform in zip(values, waveforms, strict=True):
            features = self._extractor(waveform, sampling_rate=SAMPLE_RATE)
            row[: len(waveform)] = features.input_values[0]
        kernel, stride = self._convolutions[0]
        self._lengths.first_conv = [(count - kernel) // stride + 1 for count in samples]
        counts = [self.num_positions(count) for count in samples]
        # the library takes every 384th entry: so many are True, and no more
        mask = np.arange(max(samples)) < self._step * np.array(counts)[:, None]
        tensors = {
            "input_values": torch.from_numpy(values),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }
        return tensors, counts

    def drop_layers_above(self, layer: int) -> None:
        """Free layers; the norm above the last one that is left enters the last hidden state."""
        del self.model.layers[layer + 1 :]
