"""Tiny random speech models in transformers' on-disk form, to try teachers without a download."""

from pathlib import Path
from typing import Any

FAMILIES = {
    "data2vec": ("Data2VecAudioConfig", "Data2VecAudioModel"),
    "hubert": ("HubertConfig", "HubertModel"),
    "unispeech": ("UniSpeechConfig", "UniSpeechModel"),
    "unispeech-sat": ("UniSpeechSatConfig", "UniSpeechSatModel"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
}
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embedding_groups": 2,
}


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
    norm : of the convolutions: ``group`` as in base models, ``layer`` as in large ones (the only
        form of data2vec).
    options : more of the model's config.
    """
    import torch
    import transformers

    shape: dict[str, Any] = {"num_conv_pos_embeddings": 16, "feat_extract_norm": norm}
    shape |= {"conv_bias": norm == "layer", "do_stable_layer_norm": norm == "layer"}
    if family == "data2vec":
        shape = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
    config_name, model_name = FAMILIES[family]
    config = getattr(transformers, config_name)(**(SMALL | shape | options))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, model_name)(config)
        for parameter in model.parameters():
            # biases are born zero, and would hide what leaks from padding
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(directory)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize)
    extractor.save_pretrained(directory)
    return Path(directory)
