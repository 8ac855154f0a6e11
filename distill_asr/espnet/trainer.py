"""ESPnet's trainer, made safe against a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from espnet2.train.trainer import Trainer

from distill_asr.io.checkpoint import training_records_allowed
from distill_asr.io.files import atomic_write


class DistillTrainer(Trainer):
    """Same training; checkpoints appear whole or not at all."""

    @classmethod
    def run(cls, *args, **kwargs) -> None:
        """ESPnet's ``run`` with atomic saving."""
        with _atomic_saving():
            super().run(*args, **kwargs)

    @staticmethod
    def resume(checkpoint: str | Path, model, reporter, *args, **kwargs) -> None:
        """ESPnet's ``resume``; puts back an epoch's model file that a kill prevented.

        ESPnet writes the checkpoint first, then the model of the epoch, which averaging needs.
        """
        with training_records_allowed():
            Trainer.resume(checkpoint, model, reporter, *args, **kwargs)
        epoch_file = Path(checkpoint).parent / f"{reporter.get_epoch()}epoch.pth"
        if not epoch_file.exists():
            with _atomic_saving():
                torch.save(model.state_dict(), epoch_file)


@contextmanager
def _atomic_saving() -> Iterator[None]:
    """ESPnet calls ``torch.save(object, path)`` in place; a kill would leave half a file."""
    save = torch.save

    def save_atomically(obj: object, path: object, *args, **kwargs) -> None:
        if isinstance(path, (str, os.PathLike)):
            with atomic_write(path) as temporary:
                save(obj, temporary, *args, **kwargs)
        else:
            save(obj, path, *args, **kwargs)

    torch.save = save_atomically
    try:
        yield
    finally:
        torch.save = save
