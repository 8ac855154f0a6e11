"""The settings of a teacher trainer's YAML; every mistake in one report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import CONFIG_MAPPING, MODEL_FOR_CTC_MAPPING

from distill_asr.errors import UserError, nearest
from distill_asr.io.arguments import check_arguments
from distill_asr.io.yaml import config_name, load_config

WORDS = "words"
DEFAULT_SEED = 42  # that of transformers.TrainingArguments


@dataclass(frozen=True)
class Noise:
    """Noise that is added anew each time to ``share`` of the training utterances."""

    share: float
    snr: list[float]  # dB: lowest, highest


@dataclass(frozen=True)
class SpeechSettings:
    """A transformers model with a CTC head, trained on transcribed audio.

    Parameters
    ----------
    model_type : a wav2vec 2.0-like family that has a CTC model (hubert, wavlm ...).
    model : arguments of its config; the vocabulary follows from the training text.
    training : arguments of transformers.TrainingArguments.
    first_conv : ``mel`` starts the first convolution as mel-spaced filters, otherwise it is random.
    init : directory of a trained teacher of the same architecture to fine-tune, letters and all.
    normalize : the feature extractor brings each utterance to zero mean and unit variance.
    noise : see ``Noise``.
    speed : limits of a factor by which each training utterance is sped up, pitch and all.
    weights : what is written.
    """

    model_type: str
    model: dict[str, Any]
    training: dict[str, Any]
    kind: str = "speech"
    first_conv: Literal["mel"] | None = None
    init: str | None = None
    normalize: bool = True
    noise: Noise | None = None
    speed: list[float] | None = None
    weights: Literal["float32", "float16"] = "float32"

    @staticmethod
    def problems(content: dict[str, Any]) -> list[str]:
        """Check what the types do not express."""
        found = []
        families = [name for name, kind in CONFIG_MAPPING.items() if kind in MODEL_FOR_CTC_MAPPING]
        if (given := content.get("model_type")) is not None and given not in families:
            found.append(f"model_type: {given!r}{nearest(given, families)}")
        init = content.get("init")
        if isinstance(init, str) and not (Path(init) / "model.safetensors").is_file():
            found.append(f"init: no model.safetensors in {init}; train that teacher first")
        speed = content.get("speed")
        if isinstance(speed, list) and len(speed) != 2:
            found.append(f"speed: given {speed!r}, expected two factors such as [0.9, 1.1]")
        noise = content.get("noise")
        if isinstance(noise, dict):
            found += check_arguments("noise", noise, Noise, set())
        if (
            isinstance(noise, dict)
            and isinstance(noise.get("snr"), list)
            and len(noise["snr"]) != 2
        ):
            found.append(f"noise.snr: given {noise['snr']!r}, expected limits such as [0, 20]")
        return found


@dataclass(frozen=True)
class TextSettings:
    """A masked language model, trained on sentences alone.

    Parameters
    ----------
    vocabulary : ``words`` (a WordPiece tokenizer that has every word, as BERT's has the frequent
        ones), or the number of pieces of a unigram tokenizer, as XLM-R's.
    model : model_type (bert, xlm-roberta ...) and arguments of its transformers config.
    mask : share of the pieces that are to be guessed.
    training : arguments of transformers.TrainingArguments.
    """

    vocabulary: int | str
    model: dict[str, Any]
    mask: float
    training: dict[str, Any]
    kind: str = "text"

    @staticmethod
    def problems(content: dict[str, Any]) -> list[str]:
        """Check what the types do not express."""
        found = []
        model, mask, vocabulary = (content.get(key) for key in ("model", "mask", "vocabulary"))
        if isinstance(model, dict) and model.get("model_type") not in CONFIG_MAPPING:
            found.append(
                f"model.model_type: {model.get('model_type')!r}"
                f"{nearest(model.get('model_type'), CONFIG_MAPPING)}; for instance bert"
            )
        if isinstance(mask, (int, float)) and not 0 < mask < 1:
            found.append(f"mask: given {mask!r}, expected a share such as 0.15")
        if isinstance(vocabulary, str) and vocabulary != WORDS:
            found.append(f"vocabulary: given {vocabulary!r}, expected {WORDS} or a number")
        if isinstance(vocabulary, int) and vocabulary <= 0:
            found.append(f"vocabulary: given {vocabulary!r}, expected a positive number")
        return found


_KINDS: dict[str, type[SpeechSettings] | type[TextSettings]] = {
    "speech": SpeechSettings,
    "text": TextSettings,
}


def read_settings(
    path: str | Path | Sequence[str | Path], overrides: Iterable[str] = ()
) -> SpeechSettings | TextSettings:
    """Read and check a YAML, which may extend another.

    Parameters
    ----------
    path : the file; several are merged from left to right.
    overrides : ``key.path=value`` each.

    Raises
    ------
    UserError : all mistakes at once.
    """
    content = load_config(path, overrides)
    where = config_name(path)
    kind = _KINDS.get(str(content.get("kind")))
    if kind is None:
        given = content.get("kind")
        raise UserError(f"{where}: kind: {given!r}, expected {' or '.join(_KINDS)}")
    # a part that is itself checked by its own class is left out of the types
    plain = {k: v for k, v in content.items() if not (k == "noise" and isinstance(v, dict))}
    problems = [one.removeprefix(".") for one in check_arguments("", plain, kind, set())]
    problems += kind.problems(content)
    if problems:
        raise UserError([f"{where}: {problem}" for problem in problems])
    if isinstance(content.get("noise"), dict):
        content["noise"] = Noise(**content["noise"])
    return kind(**content)


def seed(settings: SpeechSettings | TextSettings) -> int:
    """Seed of the weights' beginning, of batches and of noise."""
    return settings.training.get("seed", DEFAULT_SEED)
