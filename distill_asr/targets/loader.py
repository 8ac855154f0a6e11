"""Teacher targets as a data type of ESPnet's loader. Legend: S positions, E width, C codebooks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.io.files import write_text_atomic
from distill_asr.targets.reader import TargetReader


@dataclass(frozen=True)
class TargetList:
    """What the loader reads of one teacher; written when a training starts."""

    directories: tuple[str, ...]  # of several sets trained together
    may_miss: bool  # utterances may be missing from them
    utterances: int  # of all sets
    without: int  # of these, how many have no targets

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_text_atomic(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> TargetList:
        """Read what ``write`` wrote."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**content, "directories": tuple(content["directories"])})


class AsStored(np.ndarray):
    """Float16 that stays so where ESPnet's dataset makes every float a float32.

    Half the bytes to copy into a batch and to send to the device, where the distiller widens them.
    """

    def astype(self, dtype: Any, *args: Any, **options: Any) -> np.ndarray:
        """As NumPy's, but for float32."""
        if self.dtype == np.float16 and np.dtype(dtype) == np.float32:
            return self
        return super().astype(dtype, *args, **options)


class TargetStream(Mapping[str, np.ndarray]):
    """What a training batch carries of an utterance's targets: what lies on disk, not decoded.

    Vectors [S, E], float16 or float32, or codes int64 [S, C]; the distiller turns them into what
    its loss reads, on its device.

    Parameters
    ----------
    reader : the targets.
    may_miss : an utterance without targets gives S = 0, instead of a KeyError.
    """

    def __init__(self, reader: TargetReader, may_miss: bool = False) -> None:
        self.reader = reader
        self.may_miss = may_miss

    def __getitem__(self, utterance: str) -> np.ndarray:
        if self.may_miss and utterance not in self.reader:
            columns = self.reader.codec.stored_width(self.reader.width)
            stored: np.ndarray = np.zeros((0, columns), self.reader.codec.stored_dtype)
        else:
            stored = self.reader.stored(utterance)
        # ESPnet takes no unsigned numbers
        return stored.view(AsStored) if stored.dtype.kind == "f" else stored.astype(np.int64)

    def __iter__(self) -> Iterator[str]:
        return iter(self.reader)

    def __len__(self) -> int:
        return len(self.reader)


def load_targets(path: str) -> TargetStream:
    """Targets by utterance id.

    Parameters
    ----------
    path : a ``TargetList``.
    """
    listed = TargetList.read(path)
    if listed.without:
        logging.info(
            f"{path}: {listed.without} of {listed.utterances} utterances have no targets, "
            "and are skipped by the distillers of this teacher (missing: skip)"
        )
    return TargetStream(TargetReader(list(listed.directories)), listed.may_miss)
