"""Teachers that a recipe trains: what that takes, and a random one in their place until then."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from distill_asr.start.cost import MIB, OwnTeacher
from distill_asr.train_teacher.kinds import teacher_training
from distill_asr.train_teacher.settings import read_settings
from distill_asr.train_teacher.trainer import TeacherSets, TeacherTraining, training_arguments

_SHORT = {  # steps enough to measure them, and nothing besides
    "max_steps": 8, "eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no",
    "disable_tqdm": True,
}  # fmt: skip
FORWARD = 1 / 3  # of a step's time, which goes forward and twice as long backward
_KEPT = 4  # models of the finished one's size: itself, and the last checkpoint with its optimiser


def training_seconds(own: OwnTeacher) -> tuple[float, float]:
    """Processor time of a whole training, and MiB that it writes.

    Some batches are learnt from; an epoch also judges dev, and the end scores dev and tests.
    """
    training = _training(own, _SHORT)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(training, Path(scratch))
        pace = _Pace()
        trainer.add_callback(pace)
        trainer.train()
        epochs, batch = trainer.args.num_train_epochs, trainer.args.train_batch_size
        learnt = epochs * math.ceil(len(trainer.train_dataset) / batch)
        judged = epochs * len(trainer.eval_dataset) + sum(map(training.asked, training.sets.scored))
        seconds = pace.step * (learnt + FORWARD * judged / batch)
        parameters = sum(one.numel() for one in trainer.model.parameters())
    return seconds, _KEPT * 4 * parameters / MIB


class _Pace(TrainerCallback):
    """Processor time of a step; the first step is not counted."""

    def __init__(self) -> None:
        self._spent: list[float] = []
        self._begin = math.nan

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """A step is over, and the next one begins."""
        self._spent.append(time.process_time() - self._begin)
        self._begin = time.process_time()

    @property
    def step(self) -> float:
        """Of the steps so far."""
        return statistics.median(self._spent[1:])


@contextmanager
def untrained(own: OwnTeacher) -> Iterator[Path]:
    """A directory with the random model that the training begins with."""
    training = _training(own, {})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = training.make_model(training.make_tokenizer(folder))
        bars = is_progress_bar_enabled()
        disable_progress_bar()
        try:
            model.save_pretrained(folder)
        finally:
            if bars:
                enable_progress_bar()
        yield folder


def _training(own: OwnTeacher, more: dict[str, Any]) -> TeacherTraining:
    """``more``: of transformers' arguments, which the YAML holds too."""
    settings = read_settings(own.config, own.overrides)
    settings = replace(settings, training=settings.training | more)
    return teacher_training(settings, TeacherSets(own.train, own.dev, own.test))


def _trainer(training: TeacherTraining, scratch: Path) -> Trainer:
    tokenizer = training.make_tokenizer(scratch / "tokenizer")
    arguments = training_arguments(training, scratch / "checkpoints")
    trainer = training.make_trainer(training.make_model(tokenizer), tokenizer, arguments)
    for one in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(one)
    return trainer
