"""Audio models that no other family supports, one utterance at a time.

Legend: N samples, S teacher positions.
"""

import inspect
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families.base import FILES, Family
from distill_asr.pretrained.layers import LayerChoice
from distill_asr.pretrained.loading import (
    input_name,
    load_extractor,
    load_model,
    require_layers,
)
from distill_asr.pretrained.probing import SHORT, measure, noise
from distill_asr.pretrained.request import ModelRequest

INPUTS = ("input_values", "input_features")


class OneByOne(Family):
    """Any audio model that transformers' AutoModel loads and that gives hidden states.

    Utterances run alone and unpadded, so that nothing can leak between them: slower than the
    families that are known, and as right as the library. Of a model with a decoder the encoder is
    taken. Rate, width and shortest audio are measured on noise.

    Raises
    ------
    UserError : no hidden states, a fixed window, or layers of different rates.
    """

    def __init__(self, model: Any, extractor: Any, request: ModelRequest) -> None:
        self.model = model.eval()
        self.facts = {"extractor": extractor.to_dict()}
        self._extractor = extractor
        self._accepted = inspect.signature(model.forward).parameters
        self._measure(request)

    @classmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "OneByOne":
        """Load the model and its feature extractor, of any kind.

        Raises
        ------
        UserError : the model reads no audio, or parts of it are missing.
        """
        where = f"{request.where}: model: {request.name} is of family {model_config.model_type!r}"
        if (read := input_name(model_config)) not in INPUTS:
            hint = "; use `kind: text`" if read == "input_ids" else ""
            raise UserError(f"{where}, which reads {read}, no audio{hint}")
        extractor = load_extractor(request, None, "copy it from where the model was published")
        model = load_model(request, transformers.AutoModel, model_config, FILES)
        if getattr(model_config, "is_encoder_decoder", False):
            model = model.get_encoder()
        return cls(model, extractor, request)

    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], None]:
        """Give what the feature extractor makes of one waveform, as far as the model takes it."""
        (waveform,) = waveforms
        features = self._extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return {name: value for name, value in features.items() if name in self._accepted}, None

    def groups(self, waveforms: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Each utterance alone."""
        return [[waveform] for waveform in waveforms]

    def drop_layers_above(self, layer: int) -> None:
        """Keep all, since the place of the layers is unknown."""

    @torch.inference_mode()
    def _measure(self, request: ModelRequest) -> None:
        where = f"{request.where}: model: {request.name}"
        output = self._run(noise(SHORT))
        if getattr(output, "hidden_states", None) is None:
            raise UserError(f"{where} gives no hidden states; use your own class, docs/teachers.md")
        self.depth = len(output.hidden_states) - 1
        require_layers(request, self.depth)
        choice = LayerChoice.of(request, self.depth)
        chosen = choice.select(output)
        if len({tuple(layer.shape) for layer in chosen}) > 1:
            raise UserError(
                f"{where}: layers {list(request.layers)} differ in rate or width; choose one of "
                "them"
            )
        self.width = chosen[0].shape[-1]
        step_ms, self.min_samples = measure(
            lambda waveform: _good_positions(choice(self._run(waveform))), SAMPLE_RATE
        )
        if step_ms is None:
            raise UserError(
                f"{where} gives {chosen[0].shape[1]} positions however long the audio is, padding "
                "included; use your own class, docs/teachers.md"
            )
        self.step_ms = step_ms

    def _run(self, waveform: np.ndarray) -> Any:
        return self.model(**self.inputs([waveform])[0], output_hidden_states=True)


def _good_positions(states: Tensor) -> int:
    """S; none where audio is so short that its deviation is not defined."""
    return states.shape[1] if torch.isfinite(states).all() else 0
