"""Pretrained speech models of transformers as ESPnet encoders.

The library is imported for students that have such an encoder; other students start without it.

Legend: B batch, N samples, T frames, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor, nn

from distill_asr.errors import UserError, nearest
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.models.encoders.audio_input import FilterbankInput, WaveformInput
from distill_asr.models.encoders.lora import add_lora
from distill_asr.pretrained.request import ModelRequest

HF_SPEECH = "hf_speech"  # its name in configs
FAMILIES = ("hubert", "wav2vec2", "wav2vec2-bert", "wavlm", "whisper")
# of a model's config: what may differ from its pre-training; everything else is in its weights
ADJUSTABLE = (
    "activation_dropout", "attention_dropout", "conformer_conv_dropout", "dropout",
    "feat_proj_dropout",
    "hidden_dropout", "mask_feature_length", "mask_feature_min_masks", "mask_feature_prob",
    "mask_time_length", "mask_time_min_masks", "mask_time_prob",
)  # fmt: skip

WHISPER = FAMILIES[-1]

_reads_weights: ContextVar[bool] = ContextVar("reads_weights", default=True)


@contextmanager
def without_weights() -> Iterator[None]:
    """Within the block encoders are built with random weights, from their models' configs alone."""
    token = _reads_weights.set(False)
    try:
        yield
    finally:
        _reads_weights.reset(token)


class HFSpeechEncoder(AbsEncoder):
    """wav2vec 2.0 (XLSR, XLS-R), HuBERT, WavLM, w2v-BERT 2.0 or Whisper on raw audio of 16 kHz.

    Of Whisper there is the encoder alone; it reads the clip without the silence up to its window
    of 30 s, and longer audio is refused.

    An utterance gives the same numbers alone and in a padded batch. ESPnet's ``init`` leaves the
    pretrained weights alone. On several devices, ``freeze_batches`` and ``layer_drop_rate`` want
    ESPnet's ``unused_parameters: true``.

    Parameters
    ----------
    input_size : 1; ``input_size: 1`` in the YAML lets ESPnet pass the audio on without a front-end.
    model : hub id or local directory of the pretrained model.
    architecture : the model's config, for a model without pretrained weights; give this or
        ``model``. Training writes it into ``config.yaml`` in place of ``model`` (see
        ``portable_conf``), so that a trained student is built without its origin.
    do_normalize : standardise each utterance; None takes the setting of the feature extractor
        beside the model; an ``architecture`` needs True or False.
    model_conf : changes to the model's config: dropouts, and SpecAugment on the hidden states
        (``mask_time_prob`` ...); see ``ADJUSTABLE``.
    layer_drop_rate : probability of leaving a layer out in training, instead of the config's.
    freeze_feature_encoder : never train the convolutions below the transformer.
    freeze_batches : training batches at the beginning in which all of the model is frozen; with
        ``accum_grad: n``, n of them make an update. The count is saved with the weights.
    gradient_checkpointing : compute the layers anew in the backward pass, to save memory.
    lora : train low-rank adapters alone: ``{r: 8, alpha: 16, dropout: 0.0, targets: [q_proj]}``, of
        which all may be left out; needs peft.
    freeze_layers : of Whisper: never train so many of the lowest layers and what is below them.
    cache : of Whisper: ``distill-asr train`` computes the states of the frozen layers before the
        first step, and reads them from disk: states [B, T, D] go in, in place of audio.

    Raises
    ------
    UserError : no such model, of another family, or with weights missing.
    ValueError : an argument is out of range; the message names it.
    """

    def __init__(
        self,
        input_size: int,
        model: str | None = None,
        architecture: dict[str, Any] | None = None,
        do_normalize: bool | None = None,
        model_conf: dict[str, Any] | None = None,
        layer_drop_rate: float = 0.0,
        freeze_feature_encoder: bool = True,
        freeze_batches: int = 0,
        gradient_checkpointing: bool = False,
        lora: dict[str, Any] | None = None,
        freeze_layers: int = 0,
        cache: bool = False,
    ) -> None:
        super().__init__()
        _check_arguments(input_size, model, architecture, model_conf)
        _check_numbers(layer_drop_rate, freeze_batches)
        changes = dict(model_conf or {})
        self.cache = cache
        if architecture is not None:
            self.encoders = _from_architecture(architecture, changes, layer_drop_rate)
        else:
            self.encoders = _from_pretrained(model, changes, layer_drop_rate)
        self.encoders = _freezing(self.encoders, freeze_layers, cache, lora is not None)
        if do_normalize is None:
            do_normalize = _found_do_normalize(model, self.encoders.config)
        self._input = _audio_input(self.encoders, do_normalize)
        if lora is not None:
            add_lora(self.encoders, **lora)
        if freeze_feature_encoder or lora is not None:
            _freeze_convolutions(self.encoders)
        if gradient_checkpointing:
            # the other kind would give taps inside the model no gradient
            self.encoders.gradient_checkpointing_enable({"use_reentrant": False})
        self._freeze_batches = freeze_batches
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))
        given = {"model": model, "architecture": architecture, "do_normalize": do_normalize}
        given |= {"model_conf": model_conf, "layer_drop_rate": layer_drop_rate, "lora": lora}
        given |= {"freeze_layers": freeze_layers}
        self.last = _Restorer(self, given)

    def output_size(self) -> int:
        """D."""
        return self.encoders.config.hidden_size

    @property
    def family(self) -> str:
        """Such as ``wavlm``."""
        return self.encoders.config.model_type

    @property
    def frozen_layers(self) -> int:
        """How many of the lowest layers never train."""
        return self.encoders.frozen if self.family == WHISPER else 0

    @property
    def max_samples(self) -> int | None:
        """Longest audio; None for no limit."""
        return self._input.max_samples if self.family == WHISPER else None

    def portable_conf(self) -> dict[str, Any]:
        """What changes in ``encoder_conf`` so that it builds this encoder from itself alone."""
        architecture = json.loads(self.encoders.config.to_json_string(use_diff=False))
        return {
            "model": None,
            "architecture": architecture,
            "do_normalize": self._input.do_normalize,
        }

    def forward(
        self, xs_pad: Tensor, ilens: Tensor, prev_states: Tensor | None = None
    ) -> tuple[Tensor, Tensor, None]:
        """Encode audio.

        Parameters
        ----------
        xs_pad : [B, N] samples in [-1, 1]; what lies beyond an utterance's length is not looked at.
            With ``freeze_layers`` also the states [B, T, D] of the frozen layers.
        ilens : [B] samples, or frames of the states.
        prev_states : ESPnet's argument, not used.

        Returns
        -------
        [B, T, D], [B] frames, None.

        Raises
        ------
        ValueError : no audio of one channel, or audio too short for a frame or too long.
        """
        from_disk = self.frozen_layers and xs_pad.dim() == 3
        if not from_disk:
            self._check_audio(xs_pad, ilens)
        with torch.no_grad() if self._frozen() else nullcontext():
            if from_disk:
                inputs, frames = self.encoders.arguments(xs_pad, ilens), ilens
            else:
                inputs, frames = self._input(xs_pad, ilens)
            if self.training and (masked := self._unmasked(frames)) is not None:
                inputs["mask_time_indices"] = masked
            hidden = self.encoders(**inputs).last_hidden_state
            if self.training and hasattr(self.encoders, "masked_spec_embed"):
                # no device waits for its gradient where chance masked nothing
                hidden = hidden + 0.0 * self.encoders.masked_spec_embed.sum()
        return hidden, frames, None

    def _check_audio(self, speech: Tensor, lengths: Tensor) -> None:
        if speech.dim() != 2:
            raise ValueError(
                f"encoder hf_speech takes raw audio [B, N], found {list(speech.shape)}; set "
                "input_size: 1, and no specaug or normalize"
            )
        shortest = self._input.min_samples
        short = [f"number {i}: {n}" for i, n in enumerate(lengths.tolist()) if n < shortest]
        if short:
            raise ValueError(
                f"audio of the batch is shorter than {shortest} samples, which make one frame "
                f"({', '.join(short)}); `distill-asr prepare --min-duration` leaves it out"
            )
        longest = self.max_samples
        if longest is not None and int(lengths.max()) > longest:
            raise ValueError(
                f"audio of {int(lengths.max())} samples is longer than the model's window of "
                f"{longest}; `distill-asr prepare --max-duration {longest / SAMPLE_RATE:g}` leaves "
                "it out"
            )

    def _frozen(self) -> bool:
        """Whether this call trains nothing here; counts training batches."""
        if not (self.training and self._freeze_batches):
            return False
        seen = int(self.batches_seen)
        if seen >= self._freeze_batches:
            self._freeze_batches = 0  # no more looking: it costs a transfer from the device
            return False
        self.batches_seen += 1
        return True

    def _unmasked(self, frames: Tensor) -> Tensor | None:
        """A mask of nothing for batches shorter than a masked span, which the library refuses."""
        if self.family == WHISPER:  # masks by itself
            return None
        config = self.encoders.config
        longest = int(frames.max())
        if config.mask_time_prob == 0 or longest >= config.mask_time_length:
            return None
        return torch.zeros((len(frames), longest), dtype=torch.bool, device=frames.device)


class _Restorer(nn.Module):
    """Brings the weights back after ESPnet's ``init``, which overwrites all weights.

    ESPnet calls ``espnet_initialization_fn`` of each module in the order of registration, so this
    is the encoder's last one.
    """

    def __init__(self, encoder: HFSpeechEncoder, arguments: dict[str, Any]) -> None:
        super().__init__()
        self._encoder = (encoder,)  # no part of this module
        self._arguments = arguments

    def espnet_initialization_fn(self) -> None:
        """Build the encoder again and take its weights."""
        again = HFSpeechEncoder(1, **self._arguments)
        self._encoder[0].load_state_dict(again.state_dict())


def _check_arguments(
    input_size: int,
    model: str | None,
    architecture: dict[str, Any] | None,
    model_conf: dict[str, Any] | None,
) -> None:
    if input_size != 1:
        raise ValueError(
            f"encoder hf_speech takes raw audio, found features of width {input_size}; set "
            "input_size: 1, which leaves the front-end out"
        )
    if (model is None) == (architecture is None):
        raise ValueError("encoder_conf: give model, or architecture for random weights; not both")
    for name in model_conf or {}:
        if name not in ADJUSTABLE:
            raise ValueError(f"model_conf: unknown {name!r}{nearest(name, ADJUSTABLE)}")


def _check_numbers(layer_drop_rate: float, freeze_batches: int) -> None:
    if not 0 <= layer_drop_rate < 1:
        raise ValueError(f"layer_drop_rate: {layer_drop_rate}, expected 0 or more, and below 1")
    if freeze_batches < 0:
        raise ValueError(f"freeze_batches: {freeze_batches}, expected 0 or more")


def _freezing(model: Any, layers: int, cache: bool, lora: bool) -> Any:
    """Whisper's encoder with its lowest layers frozen; another model as it is."""
    depth = model.config.num_hidden_layers
    if model.config.model_type != WHISPER:
        if layers or cache:
            raise ValueError(
                f"freeze_layers, cache: of whisper alone, found {model.config.model_type!r}; leave "
                "them out"
            )
        return model
    if not 0 <= layers < depth:
        raise ValueError(f"freeze_layers: {layers}, expected 0 to {depth - 1}: one layer trains")
    if cache and not layers:
        raise ValueError("cache: needs freeze_layers, 1 or more")
    if lora and layers:
        raise ValueError("freeze_layers: lora freezes all layers; leave one of them out")
    from distill_asr.models.encoders.whisper_layers import WhisperLayers

    return WhisperLayers(model, layers)


def _freeze_convolutions(model: Any) -> None:
    if model.config.model_type == WHISPER:
        for convolution in (model.encoder.conv1, model.encoder.conv2):
            convolution.requires_grad_(False)
    elif hasattr(model, "feature_extractor"):
        # also stops the library from asking for gradients of the audio
        model.feature_extractor._freeze_parameters()


def _from_architecture(architecture: dict[str, Any], changes: dict[str, Any], drop: float) -> Any:
    """A model with random weights."""
    import transformers

    family = architecture.get("model_type")
    if family not in FAMILIES:
        raise ValueError(f"architecture.model_type: {family!r}{nearest(family, FAMILIES)}")
    config = transformers.CONFIG_MAPPING[family].from_dict(architecture)
    return _random(_adjusted(config, changes, drop))


def _from_pretrained(model: str, changes: dict[str, Any], drop: float) -> Any:
    import transformers

    from distill_asr.pretrained.families.base import ENCODER, FILES
    from distill_asr.pretrained.loading import load_model, load_model_config

    source = ModelRequest(model, "encoder_conf")
    config = load_model_config(source, FILES)
    if config.model_type not in FAMILIES:
        raise UserError(
            f"encoder_conf: model: {model} is of family {config.model_type!r}, which encoder "
            f"hf_speech does not know; allowed: {', '.join(FAMILIES)}"
        )
    config = _adjusted(config, changes, drop)
    if not _reads_weights.get():
        return _random(config)
    if config.model_type != WHISPER:
        return load_model(source, transformers.AutoModel, config, FILES)
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder
    return load_model(
        source, encoder, config, FILES, key_mapping=ENCODER, attn_implementation="sdpa"
    )


def _random(config: Any) -> Any:
    """A model of a config, with random weights in float32."""
    import transformers

    if config.model_type != WHISPER:
        return transformers.AutoModel.from_config(config, dtype=torch.float32)
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder
    return encoder._from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def _adjusted(config: Any, changes: dict[str, Any], drop: float) -> Any:
    """The model's config with what the YAML changes, and nothing above the last layer."""
    if config.model_type == WHISPER and drop:
        raise ValueError(f"layer_drop_rate: {drop}, expected 0 with whisper")
    for name, value in changes.items():
        if not hasattr(config, name):
            raise ValueError(f"model_conf: family {config.model_type!r} has no {name!r}")
        setattr(config, name, value)
    if any(name.startswith("mask_") for name in changes):
        config.apply_spec_augment = True  # off in some checkpoints, despite the probabilities
    if config.model_type == WHISPER:
        return config
    config.layerdrop = drop
    config.add_adapter = False
    if config.model_type == "wav2vec2-bert":
        config.use_intermediate_ffn_before_adapter = False
    return config


def _found_do_normalize(model: str | None, config: Any) -> bool:
    """The setting of the feature extractor beside the model."""
    from distill_asr.pretrained.loading import load_extractor

    if model is None:
        raise ValueError("do_normalize: missing, and an architecture does not define it")
    if config.model_type == WHISPER:
        return False
    request = ModelRequest(model, "encoder_conf")
    if config.model_type == "wav2vec2-bert":
        load_extractor(request, "SeamlessM4TFeatureExtractor", _REMEDY)
        return True  # by default of its call
    return load_extractor(request, "Wav2Vec2FeatureExtractor", _REMEDY).do_normalize


_REMEDY = "or set do_normalize in encoder_conf as in the model's training"


def _audio_input(model: Any, do_normalize: bool) -> Any:
    """A ``WaveformInput``, ``FilterbankInput`` or ``WhisperInput``."""
    if model.config.model_type == WHISPER:
        from distill_asr.models.encoders.whisper_layers import WhisperInput

        if do_normalize:
            raise ValueError("do_normalize: true, expected false with whisper")
        return WhisperInput(model.config)
    if model.config.model_type == "wav2vec2-bert":
        return FilterbankInput(model.config.feature_projection_input_dim, do_normalize)
    return WaveformInput(model, do_normalize)
