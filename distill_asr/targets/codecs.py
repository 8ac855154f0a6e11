"""How teacher states are stored. Legend: S teacher positions, E teacher width, C codebooks.

A codec is one class derived from ``Codec``, entered in ``CODECS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from distill_asr.errors import UserError, nearest
from distill_asr.targets.codebooks import CODEBOOKS, Codebooks

if TYPE_CHECKING:
    from distill_asr.targets.quantizer import Quantizer

CODEBOOK_COUNTS = (1, 2, 4, 8, 16, 32)  # what the quantizer can be trained with
SHA256 = "sha256"  # of the codebooks: set once they are trained, and part of the codec then


class Codec(ABC):
    """Turns float32 [S, E] into the array that is stored, and back; a codec declares these members.

    Parameters
    ----------
    options : a manifest's mapping ``{name: ..., **options}``.
    directory : of the targets, where a codec keeps its codebooks if it has any.
    device : where states are encoded if that is heavy.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, int]] = {}  # options of the teacher's YAML
    stored_dtype: ClassVar[type[np.generic]]
    has_codebooks: ClassVar[bool] = False  # which a dump trains before its first shard

    def __init__(
        self,
        options: Mapping[str, Any],
        directory: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        self._options = options
        self._directory = None if directory is None else Path(directory)
        self._device = device

    @classmethod
    def expected(cls, key: str, value: Any) -> str | None:
        """What an option should have been; None where it is right.

        Parameters
        ----------
        key : one of ``defaults``.
        value : as the teacher's YAML has it.
        """
        return None

    @property
    def codebooks(self) -> Codebooks | None:
        """What the stored codes point into, if they are codes; UserError if they are others."""
        return None

    @abstractmethod
    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give the array to store, [S, columns of the codec].

        Parameters
        ----------
        utterance : its id, for messages.
        states : float32 [S, E].

        Raises
        ------
        UserError : states that it cannot hold.
        """

    @abstractmethod
    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E], a fresh writable array."""

    @abstractmethod
    def stored_width(self, width: int) -> int:
        """Columns of the stored array for a teacher of ``width``."""


class Float32Codec(Codec):
    """Nothing lost: 4 bytes a value."""

    name = "fp32"
    stored_dtype: ClassVar[type[np.generic]] = np.float32

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]; a state that is not finite is a UserError."""
        _require_finite(utterance, states)
        return np.ascontiguousarray(states, dtype=np.float32)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]."""
        return np.array(stored, dtype=np.float32)

    def stored_width(self, width: int) -> int:
        """E."""
        return width


class Float16Codec(Float32Codec):
    """Half the disk: 2 bytes a value, 11 significant bits."""

    name = "fp16"
    stored_dtype = np.float16

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give float16 [S, E]; a value beyond float16's range is a UserError."""
        import torch  # whose conversion rounds as numpy's does, in a tenth of the time

        _require_finite(utterance, states)
        largest = max(states.max(), -states.min())
        with np.errstate(over="ignore"):
            fits = np.isfinite(np.float16(largest))
        if not fits:
            raise UserError(
                f"utterance {utterance}: a teacher state reaches {largest:g}, beyond "
                "the 65504 that codec fp16 can hold; use `codec: {name: fp32}` for this teacher"
            )
        return torch.from_numpy(np.require(states, np.float32, ["C", "W"])).half().numpy()


class MVQCodec(Codec):
    """Multi-codebook vector quantisation (arXiv 2211.00508): a byte a codebook and position.

    ``options`` come from a manifest, so that they name the codebooks by their ``sha256``;
    ``directory`` is dump/<set>/targets/<teacher>, with the codebooks in it.
    """

    name = "mvq"
    defaults: ClassVar[dict[str, int]] = {
        "codebooks": 16,
        "sample_frames": 100_000,  # to train the codebooks on
        "steps": 4000,  # of their training
        "seed": 0,
    }
    stored_dtype = np.uint8
    has_codebooks = True

    @classmethod
    def expected(cls, key: str, value: Any) -> str | None:
        """A count that the quantizer supports, or a whole number that is not too small."""
        if key == "codebooks":
            good = type(value) is int and value in CODEBOOK_COUNTS
            return None if good else f"one of {', '.join(map(str, CODEBOOK_COUNTS))}"
        least = {"sample_frames": 1, "steps": 8, "seed": 0}[key]
        good = type(value) is int and value >= least
        return None if good else f"a whole number from {least} on"

    def encode(self, utterance: str, states: np.ndarray) -> np.ndarray:
        """Give uint8 [S, C]; a state that is not finite is a UserError."""
        _require_finite(utterance, states)
        return self._quantizer.encode(np.asarray(states, dtype=np.float32))

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Give float32 [S, E]."""
        return self.codebooks.decode(stored)

    def stored_width(self, width: int) -> int:
        """C."""
        return self._options["codebooks"]

    @cached_property
    def codebooks(self) -> Codebooks:
        """The codebooks beside the targets; UserError if they are not those of the manifest."""
        path = self._place / CODEBOOKS
        return self._checked(path, Codebooks.load(path))

    @cached_property
    def _quantizer(self) -> Quantizer:
        from distill_asr.targets.quantizer import Quantizer, quantizer_path

        path = quantizer_path(self._place)
        quantizer = Quantizer.load(path).to(self._device)
        self._checked(path, quantizer.codebooks)
        return quantizer

    @property
    def _place(self) -> Path:
        if self._directory is None:
            raise ValueError("codec mvq needs the directory of the targets")
        return self._directory

    def _checked(self, path: Path, codebooks: Codebooks) -> Codebooks:
        if codebooks.sha256 != self._options[SHA256]:
            raise UserError(
                f"{path}: not the codebooks of {self._directory}, or damaged; restore "
                "the right ones, or dump again with --overwrite"
            )
        return codebooks


CODECS: dict[str, type[Codec]] = {"fp32": Float32Codec, "fp16": Float16Codec, "mvq": MVQCodec}


def build_codec(
    options: Mapping[str, Any], directory: str | Path | None = None, device: str = "cpu"
) -> Codec:
    """Build the codec of a manifest.

    Parameters
    ----------
    options, directory, device : as of ``Codec``.
    """
    return codec_class(options)(options, directory, device)


def codec_class(options: Mapping[str, Any]) -> type[Codec]:
    """The class of a manifest's or a teacher file's codec."""
    return CODECS[options["name"]]


def complete_codec(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a valid teacher file with the defaults of those it leaves out."""
    return {"name": options["name"], **codec_class(options).defaults, **options}


def codec_problems(value: Any) -> list[str]:
    """List what is wrong with ``codec:`` in a teacher file."""
    if not isinstance(value, dict) or "name" not in value:
        return [f"given {value!r}, expected {{name: {'|'.join(CODECS)}}}"]
    name = value["name"]
    if name not in list(CODECS):  # a list: what YAML gives may be unhashable
        return [f"unknown name {name!r}{nearest(name, CODECS)}"]
    allowed = CODECS[name].defaults
    given = {key: option for key, option in value.items() if key != "name"}
    unknown = [
        f"unknown option {key!r} of {name}{nearest(key, allowed)}"
        for key in given
        if key not in allowed
    ]
    return unknown + [
        f"{key}: given {option!r}, expected {expected}"
        for key, option in given.items()
        if key in allowed and (expected := CODECS[name].expected(key, option))
    ]


def _require_finite(utterance: str, states: np.ndarray) -> None:
    if not np.isfinite(states).all():
        raise UserError(
            f"utterance {utterance}: the teacher gave states that are not finite (NaN or inf); "
            "listen to the audio, and run the teacher with `dtype: float32`"
        )
