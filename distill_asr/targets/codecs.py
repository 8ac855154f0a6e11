"""How teacher states are stored. Legend: S teacher positions, E teacher width.

A codec is one class with a ``name``, ``encode`` and ``decode``, entered in ``CODECS``.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from distill_asr.errors import UserError


class Codec(Protocol):
    """Turns float32 [S, E] into the array that is stored, and back."""

    name: str

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give the array to store; ``utterance`` is named in errors."""

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E], a fresh writable array."""


class Float32Codec:
    """Nothing lost: 4 bytes a value."""

    name = "fp32"

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]; a state that is not finite is a UserError."""
        _require_finite(utterance, states)
        return np.ascontiguousarray(states, dtype=np.float32)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]."""
        return np.array(stored, dtype=np.float32)


class Float16Codec:
    """Half the disk: 2 bytes a value, 11 significant bits."""

    name = "fp16"

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give float16 [S, E]; a value beyond float16's range is a UserError."""
        _require_finite(utterance, states)
        with np.errstate(over="ignore"):
            stored = states.astype(np.float16)
        if not np.isfinite(stored).all():
            raise UserError(
                f"utterance {utterance}: a teacher state reaches {np.abs(states).max():g}, beyond "
                "the 65504 that codec fp16 can hold; use `codec: {name: fp32}` for this teacher"
            )
        return np.ascontiguousarray(stored)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]."""
        return np.array(stored, dtype=np.float32)


CODECS: dict[str, type] = {"fp32": Float32Codec, "fp16": Float16Codec}


def build_codec(options: Mapping[str, Any]) -> Codec:
    """Build a codec from a config's or manifest's mapping ``{name: ..., **options}``."""
    keywords = dict(options)
    return CODECS[keywords.pop("name")](**keywords)


def _require_finite(utterance: str, states: np.ndarray) -> None:
    if not np.isfinite(states).all():
        raise UserError(
            f"utterance {utterance}: the teacher gave states that are not finite (NaN or inf); "
            "listen to the audio, and run the teacher with `dtype: float32`"
        )
