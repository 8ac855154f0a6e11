"""Gives a student the share of its training that is done, for weights that change with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from torch import nn

from distill_asr.models.students.base import Student


class PacedBatches:
    """The batches of an epoch; before each, the student learns the share that is done.

    It follows from the epoch and the step alone, so a training that continues goes on as if it
    had never stopped. A loader of unknown length lets it move from epoch to epoch.

    Parameters
    ----------
    batches : what ESPnet's iterator gives.
    model : the student, or what ESPnet wraps it in for several devices.
    epoch : of the training, 1 the first.
    epochs : ``max_epoch``.
    """

    def __init__(self, batches: Iterable[Any], model: nn.Module, epoch: int, epochs: int) -> None:
        self._batches = batches
        self._student = getattr(model, "module", model)
        self._epoch, self._epochs = epoch, epochs

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError("not known")  # as ESPnet expects
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        try:
            steps = len(self)
        except TypeError:
            steps = 0
        for step, batch in enumerate(self._batches):
            if isinstance(self._student, Student):
                inside = min(step / steps, 1.0) if steps else 0.0
                self._student.share_done = min((self._epoch - 1 + inside) / self._epochs, 1.0)
            yield batch
