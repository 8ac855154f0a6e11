"""Detects a training that diverged: losses or gradients that are not finite any more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from espnet2.train.reporter import SubReporter

from distill_asr.errors import UserError, few

# in a row; more than the scaler of mixed precision needs to come down from its first scale, 2^16
BAD_STEPS = 20
_NAMED = 8  # utterances of a batch
_ADVICE = (
    "try a lower learning rate (optim_conf.lr) or a longer warm-up (scheduler_conf), grad_clip: 5, "
    "a smaller weight of the distillers, use_amp: false, and look at those utterances; with "
    "another config use another --output"
)


class WatchedBatches:
    """The batches of an epoch; each step is looked at before the next batch is given.

    Parameters
    ----------
    batches : what ESPnet's iterator gives, utterance ids and tensors.
    reporter : of the epoch's training, in which ESPnet notes each step.
    steps_between_updates : batches whose gradients are summed (``accum_grad``).
    """

    def __init__(
        self, batches: Iterable[Any], reporter: SubReporter, steps_between_updates: int = 1
    ) -> None:
        self._batches = batches
        self._reporter = reporter
        self._between = steps_between_updates
        self._bad = 0  # steps in a row
        self.last: list[str] = []  # utterances of the last step that was not finite

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError("not known")  # as ESPnet expects
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for utterances, batch in self._batches:
            yield utterances, batch
            self._look(utterances)

    def _look(self, utterances: list[str]) -> None:
        """Look at the step that has just been made.

        Raises
        ------
        UserError : it was the last of too many that were no numbers.
        """
        loss = _last(self._reporter, "loss")
        updates = self._reporter.count % self._between == 0
        # ESPnet notes no norm of gradients that are not finite
        gradients = _last(self._reporter, "grad_norm") if updates else 0.0
        if math.isfinite(loss) and math.isfinite(gradients):
            self._bad = 0
            return
        self._bad += 1
        self.last = list(utterances)
        if self._bad >= BAD_STEPS:
            raise UserError(self.message(f"in {self._bad} steps in a row"))

    def message(self, when: str) -> str:
        """The message about this epoch."""
        named = few(self.last, most=_NAMED)
        return (
            f"training diverged in epoch {self._reporter.epoch}: loss or gradients were NaN or "
            f"infinite {when}, the last of them on the batch of utterances {named or 'unknown'}; "
            f"{kept(self._reporter.epoch)}; {_ADVICE}"
        )


def _last(reporter: SubReporter, key: str) -> float:
    """Value of the last step; NaN before the first."""
    values = reporter.stats.get(key)
    return float(values[-1].value) if values else math.nan


def kept(epoch: int) -> str:
    """Which weights are left."""
    if epoch == 1:
        return "no epoch was finished, so there are no weights"
    return f"the weights of epoch {epoch - 1} are kept"


def require_finite_validation(reporter: SubReporter, utterances: list[str]) -> None:
    """Stop where no batch of the validation had a finite loss.

    Parameters
    ----------
    reporter : of the validation that has ended.
    utterances : of its last batch, to be named.

    Raises
    ------
    UserError : with the epoch and what to try.
    """
    losses = [float(value.value) for value in reporter.stats.get("loss", [])]
    if not losses or any(map(math.isfinite, losses)):
        return
    named = few(utterances, most=_NAMED)
    raise UserError(
        f"training diverged in epoch {reporter.epoch}: no validation loss is a finite number, the "
        f"last of them on the batch of utterances {named}; {kept(reporter.epoch)}; {_ADVICE}"
    )
