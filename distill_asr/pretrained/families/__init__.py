"""Families of speech models: how each takes audio, and what it gives for it.

A family is one class with what ``Family`` lists; it is entered in ``FAMILIES`` under the model
types (of config.json) that it supports. Other audio models go through ``OneByOne``.
"""

from distill_asr.pretrained.families.base import Family
from distill_asr.pretrained.families.fastconformer import FastConformerFamily
from distill_asr.pretrained.families.filterbank import FilterbankFamily
from distill_asr.pretrained.families.moonshine import MoonshineFamily
from distill_asr.pretrained.families.one_by_one import OneByOne
from distill_asr.pretrained.families.waveform import WaveformFamily
from distill_asr.pretrained.families.whisper import WhisperEncoder

__all__ = ["FAMILIES", "Family", "OneByOne", "family_of"]

FAMILIES: dict[str, type[Family]] = {
    "canary": FastConformerFamily,
    "data2vec-audio": WaveformFamily,
    "hubert": WaveformFamily,
    "moonshine": MoonshineFamily,
    "parakeet_ctc": FastConformerFamily,
    "parakeet_encoder": FastConformerFamily,
    "parakeet_rnnt": FastConformerFamily,
    "parakeet_tdt": FastConformerFamily,
    "unispeech": WaveformFamily,
    "unispeech-sat": WaveformFamily,
    "wav2vec2": WaveformFamily,
    "wav2vec2-bert": FilterbankFamily,
    "wav2vec2-conformer": WaveformFamily,
    "wavlm": WaveformFamily,
    "whisper": WhisperEncoder,
}


def family_of(model_type: str) -> type[Family]:
    """Give the family of a model type."""
    return FAMILIES.get(model_type, OneByOne)
