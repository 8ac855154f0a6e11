"""Codebooks: what turns codes back into teacher states. NumPy alone, no quantizer needed.

Legend: S positions, E width, C codebooks, K entries of a codebook.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.files import atomic_write

CODEBOOKS = "codebooks.safetensors"  # beside the targets
ENTRIES = 256  # K, so that a code is a byte
LEVELS = 127  # of an int8 on either side of zero
ARRAYS = ("entries", "scales", "mean", "std")
_FACTS = "facts"
_WAY_OUT = "restore it from a copy, or dump again with --overwrite"


@dataclass(frozen=True)
class Codebooks:
    """A state is the sum of one entry of each codebook, in standardised dimensions.

    Entries are int8 with a scale each: that costs some 0.01 % of the variance, far below what the
    codes lose, and takes half of what float16 would.
    """

    entries: np.ndarray  # int8 [C, K, E]
    scales: np.ndarray  # float32 [C, K], what one level is worth
    mean: np.ndarray  # float32 [E], of the states that the codebooks were trained on
    std: np.ndarray  # float32 [E]
    facts: dict[str, Any]  # what they were made of, and how well they fit

    @classmethod
    def of(
        cls, centers: np.ndarray, mean: np.ndarray, std: np.ndarray, facts: dict[str, Any]
    ) -> Codebooks:
        """Round centers to int8 with a scale for each entry.

        Parameters
        ----------
        centers : float32 [C, K, E], of standardised states.
        mean, std : [E], of the states that they were trained on.
        facts : what they were made of, and how well they fit.
        """
        scales = (np.abs(centers).max(axis=-1) / LEVELS).astype(np.float32)
        scales[scales == 0] = 1.0  # an entry of zeros
        entries = np.rint(centers / scales[..., None]).astype(np.int8)
        return cls(entries, scales, mean.astype(np.float32), std.astype(np.float32), facts)

    @property
    def width(self) -> int:
        """E."""
        return self.entries.shape[2]

    def centers(self) -> np.ndarray:
        """Give float32 [C, K, E], of standardised states."""
        return self.entries * self.scales[..., None]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Give float32 [S, E] for codes uint8 [S, C]."""
        states = np.zeros((len(codes), self.width), dtype=np.float32)
        for entries, scales, chosen in zip(self.entries, self.scales, codes.T, strict=True):
            states += entries[chosen] * scales[chosen][:, None]
        return states * self.std + self.mean

    def to_bytes(self) -> bytes:
        """The content of their file; the same codebooks give the same bytes."""
        return pack(self.arrays(), self.facts)

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return {name: getattr(self, name) for name in ARRAYS}

    @property
    def sha256(self) -> str:
        """Of their file: what names them in a manifest."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> Codebooks:
        """Read them; UserError where they are missing or damaged."""
        arrays, facts = unpack(path)
        return cls(facts=facts, **{name: arrays[name] for name in ARRAYS})


def pack(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> bytes:
    """A safetensors file with the facts in its head.

    Parameters
    ----------
    arrays : by name.
    facts : what JSON can hold.
    """
    from safetensors.numpy import save

    # one key, since the order of several would not be fixed
    return save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {_FACTS: json.dumps(facts, sort_keys=True)},
    )


def unpack(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file of ``pack``: arrays by name, and the facts.

    Raises
    ------
    UserError : missing, damaged, or without the arrays of codebooks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()[_FACTS])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing, and codes cannot be decoded without it; {_WAY_OUT}"
        ) from None
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_WAY_OUT}") from error
    if lost := [name for name in ARRAYS if name not in arrays]:
        raise UserError(f"{path}: no codebooks, {', '.join(lost)} missing; {_WAY_OUT}")
    return arrays, facts


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
