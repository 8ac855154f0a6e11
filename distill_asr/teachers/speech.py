"""Speech foundation models as teachers: HuBERT, WavLM, wav2vec 2.0, w2v-BERT, Whisper and others.

Legend: B batch, N samples, S teacher positions, E teacher width.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.compiling import compile_parts
from distill_asr.pretrained.families import Family, family_of
from distill_asr.pretrained.families.base import FILES
from distill_asr.pretrained.layers import LayerChoice
from distill_asr.pretrained.loading import (
    fingerprint,
    load_model_config,
    model_facts,
    require_device,
)
from distill_asr.pretrained.precision import computing, prepare_model, require_dtype
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.contract import Teacher


class SpeechTeacher(Teacher):
    """A frozen speech model that gives hidden states; build it with ``from_config``.

    Layer 0 is what enters the first transformer layer, layer n what leaves the n-th; the last one
    is the encoder's output, i.e. after the final layer norm where the model has one.

    Attributes
    ----------
    step_ms : duration of one position.
    width : E; layers that are stacked lie side by side in it, in the order of the config.
    min_samples : shortest audio that gives one position.
    max_size : longest audio in samples (Whisper's window); None for no limit.
    fingerprint : SHA-256 over weights, model config and feature extraction.
    """

    reads = "audio"

    def __init__(self, family: Family, config: TeacherConfig, device: str) -> None:
        self.layers = LayerChoice.of(config.request(), family.depth)
        facts = model_facts(family.model) | family.facts
        self.fingerprint = fingerprint(family.model.state_dict(), facts)
        self.step_ms = family.step_ms
        self.width = self.layers.width(family.width)
        self.min_samples = family.min_samples
        self.max_size = family.max_samples
        # layers above the highest one asked for are not worth computing
        family.drop_layers_above(max(config.layers))
        self._family = family
        self._model = prepare_model(family.model, config.dtype, device)
        self._compiled = config.compile
        if config.compile:
            compile_parts(family.parts(), config.path, device)
        self._dtype = config.dtype
        self._device = device

    @classmethod
    def from_config(cls, config: TeacherConfig, device: str = "cpu") -> "SpeechTeacher":
        """Load from a local directory or the hub (its cache first).

        Raises
        ------
        UserError : no such model or layer, a model that is not of speech, parts missing, no
            device.
        """
        require_device(device)
        config = config.on(device)
        require_dtype(config.dtype, device, config.path)
        request = config.request()
        model_config = load_model_config(request, FILES)
        family = family_of(model_config.model_type)
        if request.window is not None and not family.has_window:
            raise UserError(
                f"{config.path}: window: {request.window} given, but models of family "
                f"{model_config.model_type!r} have no window; remove the key"
            )
        loaded = family.load(request, model_config)
        if config.compile and not loaded.parts():
            raise UserError(
                f"{config.path}: compile: true given, but no parts of models of family "
                f"{model_config.model_type!r} are known that would gain; remove the key"
            )
        return cls(loaded, config, device)

    def size(self, item: np.ndarray) -> int:
        """Number of samples."""
        return len(item)

    def states(self, items: list[np.ndarray]) -> list[np.ndarray]:
        """Give the teacher's states, each as if its utterance were alone.

        Parameters
        ----------
        items : waveforms, float32 [N_i] at 16 kHz, each of at least ``min_samples`` and at most
            ``max_size``.

        Returns
        -------
        float32 [S_i, E] each.

        Raises
        ------
        UserError : the batch does not fit into the device's memory.
        """
        if (shortest := min(map(len, items))) < self.min_samples:
            raise ValueError(f"{shortest} samples, shorter than {self.min_samples}")
        try:
            return [row for group in self._family.groups(items) for row in self._states(group)]
        except torch.OutOfMemoryError as error:
            longest = max(map(len, items)) / SAMPLE_RATE
            raise UserError(
                f"device {self._device}: out of memory with {len(items)} utterance(s) of up to "
                f"{longest:.1f} s; lower --batch-seconds, or drop utterances that long"
            ) from error

    def inputs(self, items: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int] | None]:
        """Give what one call of the model takes, on its device, and S_i where padding is behind.

        Parameters
        ----------
        items : a group of ``Family.groups``.
        """
        inputs, counts = self._family.inputs(items)
        return {name: values.to(self._device) for name, values in inputs.items()}, counts

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Call the model once; give float32 [B, S, E] on its device.

        Parameters
        ----------
        inputs : the last ones of ``inputs``, since the model keeps their lengths.
        """
        with computing(self._dtype, self._device, self._compiled):
            output = self._model(**inputs, output_hidden_states=True)
            return self.layers(output).float()

    def _states(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        inputs, counts = self.inputs(waveforms)
        states = self.forward(inputs)
        counts = counts or [states.shape[1]] * len(states)
        # without the padding, so that nothing but states is copied and kept
        valid = torch.cat([row[:count] for row, count in zip(states, counts, strict=True)])
        return np.split(valid.cpu().numpy(), np.cumsum(counts[:-1]))
