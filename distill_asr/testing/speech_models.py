"""Tiny random speech models in transformers' on-disk form, to try teachers without a download."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embedding_groups": 2,
}
WAVEFORM = ("Wav2Vec2FeatureExtractor", {})
SEW_CONVOLUTIONS = {
    "conv_dim": (8,) * 4,
    "conv_kernel": (10, 8, 4, 4),
    "conv_stride": (5, 8, 4, 2),
    "num_conv_pos_embeddings": 16,
    "squeeze_factor": 2,
}
_WHISPER = {
    "d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "num_mel_bins": 8,
    "max_source_positions": 75, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
MOONSHINE = {
    "hidden_size": 16, "intermediate_size": 32, "encoder_num_hidden_layers": 3,
    "encoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
FASTCONFORMER = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "subsampling_conv_channels": 4, "num_mel_bins": 16,
}  # fmt: skip
PARAKEET = {"encoder_config": FASTCONFORMER, "vocab_size": 8, "pad_token_id": 7}
RNNT = {"decoder_hidden_size": 8, "num_decoder_layers": 1, "blank_token_id": 7}
CANARY_DECODER = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MELS = ("ParakeetFeatureExtractor", {"feature_size": 16})


@dataclass(frozen=True)
class TinyFamily:
    """Names of a family's classes in transformers, and a shape that makes it small."""

    config: str
    model: str
    shape: dict[str, Any] = field(default_factory=lambda: _SMALL)
    extractor: tuple[str, dict[str, Any]] = WAVEFORM


FAMILIES = {
    "data2vec": TinyFamily("Data2VecAudioConfig", "Data2VecAudioModel"),
    "hubert": TinyFamily("HubertConfig", "HubertModel"),
    "unispeech": TinyFamily("UniSpeechConfig", "UniSpeechModel"),
    "unispeech-sat": TinyFamily("UniSpeechSatConfig", "UniSpeechSatModel"),
    "wav2vec2": TinyFamily("Wav2Vec2Config", "Wav2Vec2Model"),
    "wav2vec2-conformer": TinyFamily("Wav2Vec2ConformerConfig", "Wav2Vec2ConformerModel"),
    "wavlm": TinyFamily("WavLMConfig", "WavLMModel"),
    "wav2vec2-bert": TinyFamily(
        "Wav2Vec2BertConfig",
        "Wav2Vec2BertModel",
        _SMALL | {"feature_projection_input_dim": 160},
        ("SeamlessM4TFeatureExtractor", {}),
    ),
    # a window of 1.5 s instead of 30 s
    "whisper": TinyFamily(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        _WHISPER,
        ("WhisperFeatureExtractor", {"feature_size": 8}),
    ),
    "moonshine": TinyFamily(
        "MoonshineConfig",
        "MoonshineForConditionalGeneration",
        MOONSHINE,
        ("Wav2Vec2FeatureExtractor", {"do_normalize": False}),
    ),
    "parakeet-ctc": TinyFamily("ParakeetCTCConfig", "ParakeetForCTC", PARAKEET, MELS),
    "parakeet-rnnt": TinyFamily(
        "ParakeetRNNTConfig", "ParakeetForRNNT", PARAKEET | RNNT | {"pad_token_id": 2}, MELS
    ),
    "parakeet-tdt": TinyFamily(
        "ParakeetTDTConfig", "ParakeetForTDT", PARAKEET | RNNT | {"pad_token_id": 2}, MELS
    ),
    "canary": TinyFamily(
        "CanaryConfig",
        "CanaryForConditionalGeneration",
        {"encoder_config": FASTCONFORMER, "decoder_config": CANARY_DECODER, "vocab_size": 8}
        | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
        MELS,
    ),
    "sew": TinyFamily("SEWConfig", "SEWModel", _SMALL | SEW_CONVOLUTIONS),
}
# convolutions on the waveform, with a group norm or layer norms
CONVOLUTIONAL = tuple(
    name for name, family in FAMILIES.items() if family.shape is _SMALL and name != "data2vec"
)


def save_speech_model(
    directory: Path,
    family: str = "hubert",
    *,
    norm: str = "group",
    do_normalize: bool = True,
    seed: int = 0,
    **options: Any,
) -> Path:
    """Save a model of three layers and width 16 with its feature extractor; give the directory.

    Parameters
    ----------
    family : a key of ``FAMILIES``.
    norm : of the convolutions in families that have a choice (``CONVOLUTIONAL``): ``group`` as in
        base models, ``layer`` as in large ones.
    do_normalize : the waveform to mean 0 and deviation 1, in families that take the waveform.
    options : more of the model's config.
    seed : same seed, same weights.
    """
    import torch
    import transformers

    tiny = FAMILIES[family]
    shape: dict[str, Any] = {}
    if family == "data2vec":
        shape = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
    elif family in CONVOLUTIONAL:
        shape = {"num_conv_pos_embeddings": 16, "feat_extract_norm": norm}
        shape |= {"conv_bias": norm == "layer", "do_stable_layer_norm": norm == "layer"}
    config = getattr(transformers, tiny.config)(**(tiny.shape | shape | options))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, tiny.model)(config)
        for parameter in model.parameters():
            # biases are born zero, and would hide what leaks from padding
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(directory)
    name, extras = tiny.extractor
    if tiny.extractor is WAVEFORM:
        extras = {"do_normalize": do_normalize}
    getattr(transformers, name)(**extras).save_pretrained(directory)
    return Path(directory)
