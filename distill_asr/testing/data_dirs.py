"""Small data dirs of noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from distill_asr.io.audio import SAMPLE_RATE


def write_data_dir(path: Path, num_samples: Mapping[str, int], seed: int = 0) -> Path:
    """Write a prepared data dir, unlabelled, whose utterances have the given lengths.

    The audio lies in ``<path>/wav``; wav.scp holds absolute paths.

    Parameters
    ----------
    path : the data dir.
    num_samples : length of each utterance by its id, samples of 16 kHz.
    seed : same seed, same noise.
    """
    import soundfile

    rng = np.random.default_rng(seed)
    audio = Path(path).resolve() / "wav"
    audio.mkdir(parents=True, exist_ok=True)
    for utterance, count in sorted(num_samples.items()):
        samples = rng.normal(0.02, 0.1, count).clip(-1, 1)
        soundfile.write(audio / f"{utterance}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
    tables = {
        "wav.scp": {utterance: audio / f"{utterance}.wav" for utterance in num_samples},
        "utt2spk": {utterance: utterance for utterance in num_samples},
        "utt2num_samples": num_samples,
    }
    for name, table in tables.items():
        lines = "".join(f"{utterance} {table[utterance]}\n" for utterance in sorted(table))
        (Path(path) / name).write_text(lines)
    return Path(path)


def write_labelled_dir(
    folder: Path,
    utterances: Sequence[str] = ("anna-1", "anna-2", "bert-1"),
    rate: int = 16000,
    frames: int = 4000,
) -> Path:
    """Write a correct labelled data directory with noise as audio; paths are unfriendly on purpose.

    Parameters
    ----------
    folder : where; must not exist.
    utterances : ids, each starting with its speaker and a hyphen.
    rate : Hz.
    frames : samples of each utterance.
    """
    import soundfile

    audio = folder / "wav $(x) & 'ü'"
    audio.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for key in utterances:
        soundfile.write(audio / f"{key}.wav", 0.1 * rng.standard_normal(frames), rate)
    lines = {
        "wav.scp": [f"{key} {audio / key}.wav" for key in utterances],
        "text": [f"{key} grüße an {key}" for key in utterances],
        "utt2spk": [f"{key} {key.split('-')[0]}" for key in utterances],
    }
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder
