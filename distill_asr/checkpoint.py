"""Files of weights, read without unpickling anything but tensors."""

from __future__ import annotations

import pickle
from pathlib import Path

from distill_asr.errors import UserError


def read_checkpoint(path: str | Path, way_out: str = "") -> dict:
    """What ``torch.save`` wrote, on the CPU; pages are read when they are used.

    Parameters
    ----------
    way_out : what to do about a damaged file; ends the message.

    Raises
    ------
    UserError : cut short, damaged, or holds more than tensors and plain values.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        end = way_out or "put a good copy back"
        raise UserError(
            f"{path}: damaged or cut short, cannot be read ({reason}); {end}"
        ) from error


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
