"""Audio of one utterance, as the recognisers take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.audio import BadAudioError, read_audio, resample


def read_speech(utt: str, path: str, rate: int) -> np.ndarray:
    """Samples [n] in float32.

    Parameters
    ----------
    utt : id, for messages.
    path : audio file.
    rate : Hz that it must have.

    Raises
    ------
    UserError : unreadable audio, or not mono at ``rate`` Hz; named by its utterance.
    """
    try:
        speech, facts = read_audio(path, channel=0)
    except BadAudioError as error:
        raise UserError(f"{utt}: {path}: {error.kind}: {error.detail}") from error
    if facts.rate != rate or facts.channels > 1:
        raise UserError(
            f"{utt}: {path}: {facts.rate} Hz, {facts.channels} channel(s), expected {rate} Hz "
            "mono; run `distill-asr prepare`"
        )
    return speech


def read_at(path: str | Path, rate: int) -> np.ndarray:
    """Samples [n] of a mono file at ``rate`` Hz, resampled as ``prepare`` does.

    Raises
    ------
    UserError : unreadable audio, or several channels.
    """
    try:
        samples, facts = read_audio(path)
    except BadAudioError as error:
        raise UserError(f"{path}: {error.kind}: {error.detail}") from error
    return at_rate(samples, facts.rate, rate)


def at_rate(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Samples at another rate, as ``prepare`` writes them.

    Parameters
    ----------
    samples : [n], in [-1, 1].
    rate : theirs, Hz.
    new_rate : of the result, Hz.
    """
    if rate == new_rate:
        return samples
    return np.clip(resample(samples, rate, new_rate), -1.0, 1.0)
