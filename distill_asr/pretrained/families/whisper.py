"""The encoder of Whisper, which processes all audio in a window of 30 s.

Legend: B batch, F feature vectors (10 ms), S teacher positions (20 ms), D width.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import ENCODER, FILES, Family
from distill_asr.pretrained.loading import load_extractor, load_model, require_layers
from distill_asr.pretrained.request import WINDOW_OF_AUDIO, ModelRequest

SUBSAMPLING = 2  # of the encoder's convolutions


class WhisperEncoder(Family):
    """Whisper's encoder alone; the decoder is not even loaded.

    Audio is padded to the model's window with silence, as in its training, and the states are cut
    to the audio's own length: position s covers samples ``320 s`` to ``320 s + 319``. Longer audio
    than the window is for the caller to refuse (``max_samples``).

    Parameters
    ----------
    batch_samples : of padded audio in one call of the model; an utterance counts as a window.
    """

    has_window = True

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
        """Load the encoder and its WhisperFeatureExtractor; for a window of ``audio`` too.

        Raises
        ------
        UserError : missing parts or layers, or a window that the model was not trained on.
        """
        require_layers(request, model_config.encoder_layers)
        extractor = load_extractor(
            request,
            "WhisperFeatureExtractor",
            "if the model comes without one, make it with `transformers.WhisperFeatureExtractor("
            f"feature_size={model_config.num_mel_bins}).save_pretrained(<model directory>)`",
        )
        encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder
        model = load_model(
            request, encoder, model_config, FILES, key_mapping=ENCODER, attn_implementation="sdpa"
        )
        by_clip = request.window == WINDOW_OF_AUDIO
        family = WhisperClips if by_clip else WhisperEncoder
        loaded = family(model, extractor, request.batch_seconds * SAMPLE_RATE)
        own = loaded.max_samples / SAMPLE_RATE
        if not by_clip and request.window not in (None, own):
            raise UserError(
                f"{request.where}: window: {request.window} given, but {request.name} was trained "
                f"on windows of {own:g} s; allowed: {own:g}, {WINDOW_OF_AUDIO}"
            )
        return loaded

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``."""
        return -(-num_samples // self._step)

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give log-mel features [B, mel bins, window]."""
        features = self._features(waveforms, self.max_samples)
        return {"input_features": features}, self._counts(waveforms)

    def _counts(self, waveforms: list[np.ndarray]) -> list[int]:
        longest = max(map(len, waveforms))
        if longest > self.max_samples:
            raise ValueError(f"{longest} samples, longer than {self.max_samples}")
        return [self.num_positions(len(waveform)) for waveform in waveforms]

    def _features(self, waveforms: list[np.ndarray], padded: int) -> Tensor:
        """Log-mel features float32 [B, mel bins, F] of audio with silence up to ``padded``."""
        features = self._extractor(
            waveforms,
            sampling_rate=SAMPLE_RATE,
            padding="max_length",
            max_length=padded,
            return_tensors="pt",
            device=str(next(self.model.parameters()).device),
        )
        return features.input_features.to(torch.float32)

    def groups(self, waveforms: list[np.ndarray]) -> list[list[np.ndarray]]:
        """As many windows in one call as the batch's seconds allow."""
        starts = range(0, len(waveforms), self._at_once)
        return [waveforms[start : start + self._at_once] for start in starts]

    def parts(self) -> list[nn.Module]:
        """Layers."""
        return list(self.model.layers)

    def drop_layers_above(self, layer: int) -> None:
        """Free layers."""
        # the norm above the last layer that is left enters the last hidden state: keep one more
        del self.model.layers[layer + 1 :]


class WhisperClips(WhisperEncoder):
    """Whisper's encoder on the clip alone, without the silence up to the window.

    Features, positions and weights are those of the window; only attention, which cannot look at
    silence that is not there, gives other states. A batch of clips costs what its audio lasts.
    """

    def __init__(self, model: Any, extractor: Any, batch_samples: float) -> None:
        super().__init__(ClipEncoder(model), extractor, batch_samples)
        self.facts["window"] = WINDOW_OF_AUDIO

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int]]:
        """Give log-mel features [B, mel bins, F] and the attention mask [B, S]."""
        counts = self._counts(waveforms)
        # a step of silence more, so that the vectors are those of the window
        padded = min((max(counts) + 1) * self._step, self.max_samples)
        features = self._features(waveforms, padded)
        features = features[..., : SUBSAMPLING * max(counts)].clone()
        for row, count in zip(features, counts, strict=True):
            row[:, SUBSAMPLING * count :] = 0  # what the convolution sees behind a clip alone
        mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        return {"input_features": features, "attention_mask": mask}, counts

    def groups(self, waveforms: list[np.ndarray]) -> list[list[np.ndarray]]:
        """All at once: the caller counts the padded audio."""
        return [waveforms]

    def parts(self) -> list[nn.Module]:
        """Layers."""
        return list(self.model.encoder.layers)

    def drop_layers_above(self, layer: int) -> None:
        """Free layers."""
        del self.model.encoder.layers[layer + 1 :]


@dataclass(frozen=True)
class ClipOutput:
    """What the library's encoder gives."""

    last_hidden_state: Tensor  # [B, S, D]
    hidden_states: tuple[Tensor, ...]


class ClipEncoder(nn.Module):
    """Runs transformers' encoder on audio of any length up to its window.

    The library's own ``forward`` refuses another length than the window, and takes no mask.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    def forward(
        self, input_features: Tensor, attention_mask: Tensor, output_hidden_states: bool = True
    ) -> ClipOutput:
        """Encode features of audio that is shorter than the window.

        Parameters
        ----------
        input_features : [B, mel bins, F].
        attention_mask : [B, S], true for positions of the utterance.
        output_hidden_states : not looked at; all of them, [B, S, D], are given.
        """
        hidden = embedded(self.encoder, input_features)
        states = [hidden]
        for layer in self.encoder.layers:
            hidden = layer(hidden, attention_mask[:, None, None])
            states.append(hidden)
        return ClipOutput(self.encoder.layer_norm(hidden), tuple(states))


def embedded(encoder: Any, input_features: Tensor) -> Tensor:
    """What enters the first layer of transformers' encoder, [B, S, D].

    Parameters
    ----------
    encoder : ``WhisperEncoder`` of transformers.
    input_features : [B, mel bins, F].
    """
    hidden = functional.gelu(encoder.conv1(input_features))
    hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
    return hidden + encoder.embed_positions.weight[: hidden.shape[1]]
