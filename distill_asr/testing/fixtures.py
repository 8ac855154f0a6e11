"""Everything a test of a method needs, made in a second: plain functions, and pytest fixtures.

In a ``conftest.py`` or a test file: ``from distill_asr.testing.fixtures import prepared_dir``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.targets import write_targets

__all__ = [
    "TOKENS", "make_prepared_dir", "prepared_dir", "speech_teacher", "tiny_config",
    "tiny_speech_teacher", "write_targets", "write_tokens",
]  # fmt: skip

TOKENS = ["<blank>", "<unk>", "<space>", "a", "b", "c", "d", "<sos/eos>"]


def make_prepared_dir(
    path: Path,
    utterances: int = 4,
    seconds: tuple[float, float] = (0.6, 1.5),
    text: bool = True,
    seed: int = 0,
) -> Path:
    """Write a prepared data dir of tones in noise; the audio lies in ``<path>/wav``.

    Parameters
    ----------
    utterances : how many, of two speakers; their ids carry the directory's name.
    seconds : shortest and longest; both occur where there are two utterances or more.
    text : words of a, b, c, d (see ``TOKENS``); without it the data is unlabelled.
    seed : same seed, same data.
    """
    import soundfile

    from distill_asr.data.datadir import DataDir

    path, rng = Path(path), np.random.default_rng(seed)
    audio = path.resolve() / "wav"
    audio.mkdir(parents=True, exist_ok=True)
    wav, words, speakers, lengths = {}, {}, {}, {}
    for number, duration in enumerate(np.linspace(*seconds, utterances)):
        utterance = f"spk{number % 2}-{path.name}-{number:03d}"
        times = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
        tone = np.sin(2 * np.pi * rng.uniform(100, 2000) * times)
        samples = 0.2 * tone + rng.normal(0, 0.05, len(times))
        soundfile.write(audio / f"{utterance}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
        wav[utterance] = str(audio / f"{utterance}.wav")
        words[utterance] = f"{_word(rng)} {_word(rng)}"
        speakers[utterance] = f"spk{number % 2}"
        lengths[utterance] = len(times)
    DataDir(path, wav, words if text else None, speakers, lengths).write(path)
    return path


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("abcd"), 2))


def tiny_speech_teacher(
    path: Path, family: str = "hubert", layers: int = 2, width: int = 16, **options: Any
) -> Path:
    """Save a random transformers speech model with its feature extractor; give the directory.

    Parameters
    ----------
    path : the directory.
    family : ``hubert``, ``wavlm`` and others, see ``distill_asr.testing.speech_models``.
    layers : of the encoder.
    width : dimensions of a state, a multiple of 2.
    options : more of the model's config.
    """
    return save_speech_model(
        Path(path), family, num_hidden_layers=layers, hidden_size=width, **options
    )


def write_tokens(path: Path) -> Path:
    """Write ``TOKENS`` as a token list file."""
    Path(path).write_text("".join(f"{token}\n" for token in TOKENS), encoding="utf-8")
    return Path(path)


def tiny_config(
    model: str = "ctc",
    token_list: str | Path | list[str] | None = None,
    distill: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A valid training config of a student with some thousand parameters.

    Parameters
    ----------
    model : ``ctc`` (with a small attention decoder), ``cif``, ``encoder_only`` or ``transducer``.
    token_list : a file (see ``write_tokens``), or the tokens; ``TOKENS`` where not given.
    distill : the ``distill`` block; ``encoder_only`` gets a plain one where not given, whose
        teacher is called ``teacher``.
    changes : top-level keys to set.
    """
    if distill is None and model == "encoder_only":
        distill = {"embedding": {"teacher": "teacher", "tap": "encoder", "loss": "l1"}}
    config: dict[str, Any] = {
        "model": model,
        "frontend": "kaldi_fbank",
        "frontend_conf": {"n_mels": 16},
        "specaug": None,
        "normalize": None,
        "encoder": "conformer",
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 16,
            "num_blocks": 2,
            "input_layer": "conv2d",
            "cnn_module_kernel": 3,
        },
        "optim": "adam",
        "optim_conf": {"lr": 0.001},
        "max_epoch": 1,
        "batch_type": "unsorted",
        "batch_size": 2,
        "num_workers": 0,
        "seed": 0,
    }
    if model != "encoder_only":
        tokens = token_list if isinstance(token_list, list) else token_list and str(token_list)
        config |= {"token_type": "char", "token_list": tokens or list(TOKENS)}
    config |= _PARTS[model]
    if distill:
        config["distill"] = distill
    return config | changes


_PARTS: dict[str, dict[str, Any]] = {
    "encoder_only": {},
    "cif": {
        "decoder": "cif_nar",
        "decoder_conf": {"attention_heads": 2, "linear_units": 16, "num_blocks": 1},
    },
    "ctc": {
        "decoder": "transformer",
        "decoder_conf": {"attention_heads": 2, "linear_units": 16, "num_blocks": 1},
        "model_conf": {"ctc_weight": 0.3},
    },
    "transducer": {
        "decoder": "stateless",
        "decoder_conf": {"embed_size": 8},
        "joint_net_conf": {"joint_space_size": 16},
        "model_conf": {"ctc_weight": 0.3},
    },
}


@pytest.fixture
def prepared_dir(tmp_path: Path) -> Path:
    """A labelled prepared data dir of four utterances."""
    return make_prepared_dir(tmp_path / "train")


@pytest.fixture
def speech_teacher(tmp_path: Path) -> Path:
    """A HuBERT of two layers, width 16, step 20 ms."""
    return tiny_speech_teacher(tmp_path / "hubert")
