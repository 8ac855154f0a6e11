"""Speech foundation models as teachers: HuBERT, WavLM, wav2vec 2.0, data2vec-audio and relatives.

Legend: B batch, N samples, S teacher positions, E teacher width.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_asr.errors import UserError
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.padding import keep_padding_out

SAMPLE_RATE = 16000
# families that share wav2vec 2.0's convolutions and positional embedding (see padding.py)
FAMILIES = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
# learnt for masked pre-training, never used on whole audio, absent from some checkpoints
UNUSED = ("masked_spec_embed",)
# of a config: where it came from, not what the model computes
NOT_THE_MODEL = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}


class SpeechTeacher:
    """A frozen speech model that gives hidden states; build it with ``from_config``.

    Layer 0 is what enters the first transformer layer, layer n what leaves the n-th; the last one
    is the encoder's output, i.e. after the final layer norm where the model has one.

    Attributes
    ----------
    step_ms : duration of one position.
    width : E; layers that are stacked lie side by side in it, in the order of the config.
    min_samples : shortest audio that gives one position.
    fingerprint : SHA-256 over weights, model config and feature extraction.
    """

    def __init__(self, model: Any, extractor: Any, config: TeacherConfig, device: str) -> None:
        self.layers = config.layers
        self.combine = config.combine
        self.depth = model.config.num_hidden_layers
        self.fingerprint = _fingerprint(model, extractor)
        self.step_ms = 1000 * math.prod(model.config.conv_stride) / SAMPLE_RATE
        self.width = model.config.hidden_size * (len(self.layers) if self.combine == "stack" else 1)
        self.min_samples = _min_samples(model.config)
        self._extractor = extractor
        self._lengths = keep_padding_out(model)
        # layers above the highest one asked for are not worth computing
        del model.encoder.layers[max(1, *self.layers) :]
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device

    @classmethod
    def from_config(cls, config: TeacherConfig, device: str = "cpu") -> "SpeechTeacher":
        """Load from a local directory or the hub (its cache first).

        Raises
        ------
        UserError : no such model or layer, a family not known to work, parts missing, no device.
        """
        _require_device(device)
        model, extractor = _load(config)
        return cls(model, extractor, config, device)

    def num_positions(self, num_samples: int) -> int:
        """S for an utterance of ``num_samples``; below 1 if it is too short."""
        lengths = torch.tensor(num_samples)
        return int(self._model._get_feat_extract_output_lengths(lengths))

    def states(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Give the teacher's states, each as if its utterance were alone.

        Parameters
        ----------
        waveforms : float32 [N_i] at 16 kHz, each of at least ``min_samples``.

        Returns
        -------
        float32 [S_i, E] each.

        Raises
        ------
        UserError : the batch does not fit into the device's memory.
        """
        try:
            with torch.inference_mode(), _full_precision():
                values, mask = self._padded(waveforms)
                frames = self._lengths.frames
                output = self._model(values, attention_mask=mask, output_hidden_states=True)
                states = self._combined(output).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            longest = max(map(len, waveforms)) / SAMPLE_RATE
            raise UserError(
                f"device {self._device}: out of memory with {len(waveforms)} utterance(s) of up to "
                f"{longest:.1f} s; lower --batch-seconds, or drop utterances that long"
            ) from error
        return [row[:count].copy() for row, count in zip(states, frames, strict=True)]

    def _padded(self, waveforms: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Give values [B, N] and attention mask [B, N]; note the valid lengths."""
        samples = [len(waveform) for waveform in waveforms]
        if min(samples) < self.min_samples:
            raise ValueError(f"{min(samples)} samples, shorter than {self.min_samples}")
        values = np.zeros((len(samples), max(samples)), dtype=np.float32)
        for row, waveform in zip(values, waveforms, strict=True):
            # one by one: the extractor's own padding would normalise in another way
            features = self._extractor(waveform, sampling_rate=SAMPLE_RATE)
            row[: len(waveform)] = features.input_values[0]
        kernel, stride = self._model.config.conv_kernel[0], self._model.config.conv_stride[0]
        self._lengths.first_conv = [(count - kernel) // stride + 1 for count in samples]
        self._lengths.frames = [self.num_positions(count) for count in samples]
        mask = np.arange(max(samples)) < np.array(samples)[:, None]
        return (
            torch.from_numpy(values).to(self._device),
            torch.from_numpy(mask.astype(np.int64)).to(self._device),
        )

    def _combined(self, output: Any) -> Tensor:
        """Give the chosen layers as one tensor [B, S, E]."""
        chosen = [
            output.last_hidden_state if layer == self.depth else output.hidden_states[layer]
            for layer in self.layers
        ]
        if self.combine == "mean":
            return torch.stack(chosen).mean(dim=0)
        return torch.cat(chosen, dim=-1)


def _load(config: TeacherConfig) -> tuple[Any, Any]:
    """Load model and feature extractor, and refuse what would give wrong states."""
    import transformers

    name = _model_name(config)
    try:
        model_config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(_missing(config, error)) from error
    problems = _config_problems(model_config, config)
    if problems:
        raise UserError([f"{config.path}: {problem}" for problem in problems])
    if hasattr(model_config, "add_adapter"):
        model_config.add_adapter = False  # it sits above the hidden states
    extractor = _load_extractor(name, config, model_config)
    try:
        # float32 whatever the checkpoint holds, so that the fingerprint is of the same numbers
        model, info = transformers.AutoModel.from_pretrained(
            name, config=model_config, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(_missing(config, error)) from error
    lost = sorted(key for key in info["missing_keys"] if not key.endswith(UNUSED))
    lost += sorted(str(key[0]) for key in info["mismatched_keys"])
    if lost:
        raise UserError(
            f"{config.path}: model {config.model}: the checkpoint lacks {len(lost)} weight(s) of "
            f"this family, e.g. {', '.join(lost[:3])}; it is damaged or of another architecture"
        )
    return model, extractor


def _load_extractor(name: str, config: TeacherConfig, model_config: Any) -> Any:
    import transformers

    normalize = (
        model_config.feat_extract_norm == "layer"
        if hasattr(model_config, "feat_extract_norm")
        else True
    )
    remedy = (
        "if the model comes without one, make it with `transformers.Wav2Vec2FeatureExtractor("
        f"do_normalize={normalize}).save_pretrained(<model directory>)`, with do_normalize as in "
        "the model's training"
    )
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{config.path}: model {config.model}: preprocessor_config.json is missing or not "
            f"readable; {remedy}"
        ) from error
    if not isinstance(extractor, transformers.Wav2Vec2FeatureExtractor):
        raise UserError(
            f"{config.path}: model {config.model}: preprocessor_config.json describes a "
            f"{type(extractor).__name__}, expected Wav2Vec2FeatureExtractor; {remedy}"
        )
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(
            f"{config.path}: model {config.model}: wants {extractor.sampling_rate} Hz audio, "
            f"data is {SAMPLE_RATE} Hz; choose a {SAMPLE_RATE} Hz teacher"
        )
    return extractor


def _config_problems(model_config: Any, config: TeacherConfig) -> list[str]:
    if model_config.model_type not in FAMILIES:
        return [
            f"model: {config.model} is of family {model_config.model_type!r}, which teachers of "
            f"kind speech do not know; allowed: {', '.join(FAMILIES)}"
        ]
    depth = model_config.num_hidden_layers
    return [
        f"layers: {layer} given, but {config.model} has {depth} layers; allowed: 0 to {depth}"
        for layer in config.layers
        if layer > depth
    ]


def _model_name(config: TeacherConfig) -> str:
    directory = Path(config.model).expanduser()
    return str(directory) if directory.is_dir() else config.model


def _missing(config: TeacherConfig, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{config.path}: model: {config.model} is neither a usable local directory nor on the hub "
        f"or in its cache ({reason}). With network access run `hf download {config.model}` once; "
        "without, copy a directory with config.json, preprocessor_config.json and "
        "model.safetensors from elsewhere and write its path as `model:`"
    )


def _require_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: cannot be used here ({error}); try cpu") from error


def _full_precision() -> Any:
    """Keep convolutions on CUDA from rounding to TF32, and from varying between runs."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def _min_samples(model_config: Any) -> int:
    """Receptive field of one position."""
    samples = 1
    pairs = list(zip(model_config.conv_kernel, model_config.conv_stride, strict=True))
    for kernel, stride in reversed(pairs):
        samples = (samples - 1) * stride + kernel
    return samples


def _fingerprint(model: Any, extractor: Any) -> str:
    """SHA-256 of everything that decides the states, whatever file format it was loaded from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith(UNUSED):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    described = {k: v for k, v in model.config.to_diff_dict().items() if k not in NOT_THE_MODEL}
    described["do_normalize"] = extractor.do_normalize
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    return digest.hexdigest()
