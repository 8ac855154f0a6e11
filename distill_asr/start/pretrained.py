"""Speech teachers by language and by machine; those of the local cache before all others."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.start.machine import Machine

ANY = "any"  # language


@dataclass(frozen=True)
class SpeechModel:
    """A published encoder.

    Parameters
    ----------
    name : what its targets are called.
    model : hub id.
    layers : of its transformer; the last one's states are learnt.
    language : code, or ``any``.
    millions : of parameters, of the encoder.
    width : of its states.
    windowed : it reads windows of 30 s, whatever the length of the audio.
    """

    name: str
    model: str
    layers: int
    language: str
    millions: int
    width: int
    windowed: bool = False

    @property
    def large(self) -> bool:
        """Whether it wants a GPU."""
        return self.millions > 150


# in the order of preference, for a language and a size
PUBLISHED = (
    SpeechModel("wavlm", "microsoft/wavlm-large", 24, "en", 316, 1024),
    SpeechModel("hubert", "facebook/hubert-large-ll60k", 24, "en", 316, 1024),
    SpeechModel("wav2vec2", "facebook/wav2vec2-large-lv60", 24, "en", 316, 1024),
    SpeechModel("data2vec", "facebook/data2vec-audio-large", 24, "en", 313, 1024),
    SpeechModel("wavlm", "microsoft/wavlm-base-plus", 12, "en", 95, 768),
    SpeechModel("hubert", "facebook/hubert-base-ls960", 12, "en", 95, 768),
    SpeechModel("w2v_bert", "facebook/w2v-bert-2.0", 24, ANY, 580, 1024),
    SpeechModel("xlsr", "facebook/wav2vec2-xls-r-300m", 24, ANY, 316, 1024),
    SpeechModel("mhubert", "utter-project/mHuBERT-147", 12, ANY, 95, 768),
    SpeechModel("whisper", "openai/whisper-large-v3", 32, ANY, 637, 1280, windowed=True),
    SpeechModel("whisper", "openai/whisper-base", 6, ANY, 21, 512, windowed=True),
    SpeechModel("whisper", "openai/whisper-small", 12, ANY, 88, 768, windowed=True),
)
SPEECH_TYPES = (
    "wav2vec2", "hubert", "wavlm", "data2vec-audio", "wav2vec2-bert", "wav2vec2-conformer",
    "unispeech", "unispeech-sat", "sew", "sew-d", "whisper",
)  # fmt: skip


@dataclass(frozen=True)
class ChosenTeacher:
    """A teacher of the recipe; ``local`` where its files are on this machine.

    ``windowed``: it reads windows of 30 s, whatever the length of the audio.
    """

    name: str
    model: str
    layer: int
    local: bool
    why: str
    windowed: bool = False


def choose_teachers(
    given: Sequence[str], language: str | None, machine: Machine, count: int
) -> list[ChosenTeacher]:
    """The teachers that are given, else ``count`` by language, size and local cache.

    Parameters
    ----------
    given : directories or hub ids.
    language : of the transcripts; None where unknown.
    machine : a GPU takes large models.
    count : how many at most.

    Raises
    ------
    UserError : a model that is not a speech encoder, or a hub id whose layers are unknown.
    """
    if given:
        return _given(given)
    fitting = [one for one in PUBLISHED if one.language in (language, ANY)]
    # models of the language before those of all, and of the size that the machine can run
    fitting.sort(key=lambda one: (one.language == ANY, one.large != bool(machine.gpus)))
    cached = [one for one in fitting if cached_model(one.model) is not None]
    chosen: dict[str, SpeechModel] = {}
    if cached:
        pool = cached
    else:
        own = [one for one in fitting if one.large == bool(machine.gpus)]
        pool = [one for one in own if one.language != ANY] or own
    for one in pool:
        chosen.setdefault(one.name, one)
    if cached:
        why = "in the local cache"
    else:
        size = "large, for the GPU" if machine.gpus else "base size, since there is no GPU"
        why = f"not in the local cache: `dump` fetches it from the hub; {size}"
    return [
        ChosenTeacher(one.name, one.model, one.layers, bool(cached), why, one.windowed)
        for one in list(chosen.values())[:count]
    ]


def cached_model(model: str) -> Path | None:
    """The snapshot of a hub id in the local cache, if it has weights."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    snapshots = sorted((cache / f"models--{model.replace('/', '--')}" / "snapshots").glob("*"))
    for one in reversed(snapshots):
        if (one / "config.json").is_file() and any(one.glob("*.safetensors")) | any(
            one.glob("*.bin")
        ):
            return one
    return None


def _given(models: Sequence[str]) -> list[ChosenTeacher]:
    chosen: list[ChosenTeacher] = []
    problems = []
    for model in models:
        known = next((one for one in PUBLISHED if one.model == model), None)
        folder = Path(model) if Path(model).is_dir() else cached_model(model)
        try:
            kind, layers = (
                _facts(folder, model) if folder else ("", known.layers if known else None)
            )
        except UserError as error:
            problems += error.problems
            continue
        if layers is None:
            problems.append(
                f"--teacher {model}: no such directory, not in the local cache, and its layers "
                "are not known here; fetch it first (`hf download`), or give its directory"
            )
            continue
        name = known.name if known else _name(folder or Path(model))
        while any(one.name == name for one in chosen):
            name += "_2"
        place = str(Path(model).resolve()) if Path(model).is_dir() else model
        local, windowed = folder is not None, kind == "whisper"
        chosen.append(ChosenTeacher(name, place, layers, local, "as asked for", windowed))
    if problems:
        raise UserError(problems)
    return chosen


def _facts(folder: Path, model: str) -> tuple[str, int]:
    """Type of a speech encoder and number of its last layer."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
        layers = config.get("encoder_layers") if kind == "whisper" else config["num_hidden_layers"]
        number = int(layers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"--teacher {model}: {folder / 'config.json'} is not that of a transformers model "
            f"({error}); give another directory, or a hub id"
        ) from error
    if kind not in SPEECH_TYPES:
        raise UserError(
            f"--teacher {model}: a {kind} is not a speech encoder; init takes speech teachers "
            f"({', '.join(SPEECH_TYPES)}); docs/l2s.md and docs/hkd.md show how to use text "
            "teachers"
        )
    return kind, number


def _name(folder: Path) -> str:
    """A short name of letters and digits: of ``whisper-tiny.en`` it is ``whisper_tiny_en``."""
    resolved = folder.resolve().name
    parts = "".join(c if c.isascii() and c.isalnum() else "_" for c in resolved.lower())
    return parts.strip("_") or "teacher"
