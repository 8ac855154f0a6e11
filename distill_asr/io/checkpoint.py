"""Files of weights, read without unpickling anything but tensors."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError

# what torch, pickle and zipfile raise over damaged files
_UNREADABLE = (
    RuntimeError, EOFError, ValueError, AttributeError, pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


def read_checkpoint(path: str | Path, way_out: str) -> dict[str, Any]:
    """What ``torch.save`` wrote, on the CPU; pages are read when they are used.

    Parameters
    ----------
    path : the file.
    way_out : what to do about a damaged file; ends the message.

    Raises
    ------
    UserError : cut short, damaged, or holds more than tensors and plain values.
    """
    import torch

    try:
        if damaged := _damaged_part(path):
            raise ValueError(f"the checksum of its part {damaged} is wrong")
        with training_records_allowed():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (*_UNREADABLE, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        message = f"{path}: damaged or cut short, cannot be read ({reason}); {way_out}"
        raise UserError(message) from error


def _damaged_part(path: str | Path) -> str | None:
    """Part of a file that is not as it was written; torch checks none of the checksums in it."""
    if not zipfile.is_zipfile(path):
        return None  # of an old torch, or cut short, which torch reports
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


@contextmanager
def training_records_allowed() -> Iterator[None]:
    """Let ``torch.load`` read ESPnet's training curves: numpy's numbers, and durations."""
    import numpy as np
    import torch

    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64")]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    with torch.serialization.safe_globals([rebuild_scalar, np.dtype, *dtypes, timedelta]):
        yield


def damaged_checkpoints(directory: Path) -> list[str]:
    """Problems of the files that a training in ``directory`` would continue from."""
    if not (directory / "checkpoint.pth").exists():
        return []
    problems = []
    for path in [directory / "checkpoint.pth", *sorted(directory.glob("*epoch.pth"))]:
        try:
            read_checkpoint(path, f"put a good copy back, or remove {directory} and train again")
        except UserError as error:
            problems += error.problems
    return problems
