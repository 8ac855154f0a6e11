"""ESPnet's trainer, made safe against a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from espnet2.train.trainer import Trainer

from distill_asr.errors import UserError
from distill_asr.espnet.divergence import WatchedBatches, require_finite_validation
from distill_asr.espnet.pace import PacedBatches
from distill_asr.io.checkpoint import training_records_allowed
from distill_asr.io.files import atomic_write


class DistillTrainer(Trainer):
    """Same training; checkpoints appear whole or not at all."""

    @classmethod
    def run(cls, *args, **kwargs) -> None:
        """ESPnet's ``run`` with atomic saving."""
        with _atomic_saving():
            super().run(*args, **kwargs)

    @classmethod
    def train_one_epoch(cls, *, iterator, reporter, options, **more) -> bool:
        """ESPnet's; stops where the training has come apart, before that epoch is saved.

        Raises
        ------
        UserError : losses or gradients were no finite numbers in too many steps in a row, or in
            all of the epoch.
        """
        if options.no_forward_run:
            return super().train_one_epoch(
                iterator=iterator, reporter=reporter, options=options, **more
            )
        paced = PacedBatches(iterator, more["model"], reporter.epoch, options.max_epoch)
        watched = WatchedBatches(paced, reporter, options.accum_grad)
        none_valid = super().train_one_epoch(
            iterator=watched, reporter=reporter, options=options, **more
        )
        if none_valid and watched.last:
            raise UserError(watched.message("in all of its steps"))
        return none_valid

    @classmethod
    def validate_one_epoch(cls, *, iterator, reporter, **more) -> None:
        """ESPnet's; stops where no validation loss is a number, before that epoch is saved.

        Raises
        ------
        UserError : none is.
        """
        last: list[str] = []

        def noted() -> Iterator:
            for utterances, batch in iterator:
                last[:] = utterances
                yield utterances, batch

        super().validate_one_epoch(iterator=noted(), reporter=reporter, **more)
        require_finite_validation(reporter, last)

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
