"""Audio of one utterance, as the recognisers take it."""

from __future__ import annotations

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.audio import BadAudioError, read_audio


def read_speech(utt: str, path: str, rate: int) -> np.ndarray:
    """Samples [n] in float32.

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
