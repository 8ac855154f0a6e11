"""w2v-BERT 2.0: a conformer on normalised log-mel filterbanks.

Legend: B batch, F feature vectors (10 ms), S teacher positions (20 ms).
"""

from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.request import ModelRequest

WINDOW, HOP = 400, 160  # samples; fixed in the feature extractor


class FilterbankFamily(Family):
    """w2v-BERT 2.0; two neighbouring filterbank vectors make one position."""

    def __init__(self, model: Any, extractor: Any) -> None:
        self.depth = model.config.num_hidden_layers
        self.width = model.config.hidden_size
        self.step_ms = 1000 * HOP * extractor.stride / SAMPLE_RATE
        # the deviation of a single vector, by which the extractor divides, is not defined
        self.min_samples = WINDOW + HOP * (max(2, extractor.stride) - 1)
        self.facts = {"num_mel_bins": extractor.num_mel_bins, "stride": extractor.stride}
        self._extractor = extractor
        self.model = model

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "FilterbankFamily":
        """Load the model and its SeamlessM4TFeatureExtractor."""
        require_layers(request, model_config.num_hidden_layers)
        model_config.add_adapter = False  # both sit above the hidden states
        model_config.use_intermediate_ffn_before_adapter = False
        extractor = load_extractor(
            request,
            "SeamlessM4TFeatureExtractor",
            "if the model comes without one, make it with "
            "`transformers.SeamlessM4TFeatureExtractor().save_pretrained(<model directory>)`",
        )
        return cls(load_model(request, transformers.AutoModel, model_config, FILES), extractor)

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``; below 1 if it is too short."""
        return ((num_samples - WINDOW) // HOP + 1) // self._extractor.stride

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give features [B, S, mel bins x stride] and attention mask [B, S]."""
        # one by one and unpadded: a last vector without its neighbour is dropped
        rows = [
            self._extractor(
                waveform, sampling_rate=SAMPLE_RATE, pad_to_multiple_of=None, padding=False
            )["input_features"][0]
            for waveform in waveforms
        ]
        counts = [len(row) for row in rows]
        features = np.zeros((len(rows), max(counts), rows[0].shape[1]), dtype=np.float32)
        for place, row in zip(features, rows, strict=True):
            place[: len(row)] = row
        mask = np.arange(max(counts)) < np.array(counts)[:, None]
        tensors = {
            "input_features": torch.from_numpy(features),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }
        return tensors, counts

    def drop_layers_above(self, layer: int) -> None:
        """Free layers, which have no norm above them."""
        del self.model.encoder.layers[max(1, layer) :]
