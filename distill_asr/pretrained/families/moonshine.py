"""The encoder of Moonshine: three convolutions on the waveform, then a transformer.

Legend: B batch, N samples, S teacher positions (24 ms).
"""

import math
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.pretrained.families.base import ENCODER, FILES
from distill_asr.pretrained.families.waveform import ConvolutionalFamily
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.padding import UtteranceGroupNorm, ValidLengths
from distill_asr.pretrained.request import ModelRequest


class MoonshineFamily(ConvolutionalFamily):
    """Moonshine's encoder alone.

    Its group norm takes statistics over time, and its mask counts positions that reach behind the
    audio; both are mended here, so that an utterance's states do not depend on its batch.
    """

    def __init__(self, model: Any, extractor: Any) -> None:
        layers = (model.conv1, model.conv2, model.conv3)
        convolutions = [(conv.kernel_size[0], conv.stride[0]) for conv in layers]
        super().__init__(model, extractor, convolutions)
        self.depth = model.config.encoder_num_hidden_layers
        self._step = math.prod(stride for _, stride in convolutions)
        self._lengths = ValidLengths([], [])
        model.groupnorm = UtteranceGroupNorm(model.groupnorm, self._lengths)

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

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give values [B, N] and attention mask [B, N]; note the valid lengths."""
        samples = [len(waveform) for waveform in waveforms]
        values = self.padded(waveforms)
        self._lengths.first_conv = [self.after_first(count) for count in samples]
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
