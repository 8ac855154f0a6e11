"""What the training of all teachers shares: checkpoints, the finished directory, its report."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.train_teacher.identity import data_identity
from distill_asr.train_teacher.report import read_report, scored_name, unscored, write_report
from distill_asr.train_teacher.settings import SpeechSettings, TextSettings

BEGUN = "settings.json"  # beside the checkpoints: what they belong to
DEFAULTS = {
    "report_to": "none",
    "save_strategy": "epoch",
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_total_limit": 1,
}

AnySettings = TypeVar("AnySettings", SpeechSettings, TextSettings)


@dataclass(frozen=True)
class TeacherSets:
    """What a teacher is trained and measured on."""

    train: str
    dev: str
    test: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[str, ...]:
        """The sets that a finished teacher is measured on."""
        return (self.dev, *self.test)


class TeacherTraining(ABC, Generic[AnySettings]):
    """One kind of teacher; a new kind declares these members.

    Parameters
    ----------
    settings : of the YAML.
    sets : what it is trained on.
    """

    defaults: ClassVar[dict[str, Any]] = {}  # of transformers.TrainingArguments, besides DEFAULTS

    def __init__(self, settings: AnySettings, sets: TeacherSets) -> None:
        self.settings = settings
        self.sets = sets

    @abstractmethod
    def content(self) -> object:
        """What decides the weights besides the settings, as JSON; read from the data."""

    @abstractmethod
    def make_tokenizer(self, folder: Path) -> PreTrainedTokenizerBase:
        """Make what turns text or audio into the model's input, and save it to ``folder``."""

    @abstractmethod
    def make_model(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Give the model to start from."""

    @abstractmethod
    def make_trainer(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        arguments: TrainingArguments,
    ) -> Trainer:
        """Give a trainer that measures on dev after every epoch.

        Parameters
        ----------
        model, tokenizer : as made by the methods above.
        arguments : of transformers, for the run.
        """

    @abstractmethod
    def facts(self, trainer: Trainer) -> dict[str, Any]:
        """The facts of the training for the report."""

    @abstractmethod
    def score(self, output: Path, path: str) -> dict[str, Any]:
        """Measure the finished teacher on one set.

        Parameters
        ----------
        output : its directory.
        path : of the set.
        """

    @abstractmethod
    def asked(self, path: str) -> int:
        """How many items the model reads for the score of one set."""

    def save_model(self, model: PreTrainedModel, folder: Path) -> None:
        """Write the weights."""
        model.save_pretrained(folder)


def train(training: TeacherTraining, output: Path) -> None:
    """Train or go on, then put the whole directory into place with one rename.

    Parameters
    ----------
    training : of either kind.
    output : the teacher's directory; the checkpoints lie beside it until it is finished.

    Raises
    ------
    UserError : data or settings do not fit, or the checkpoints are of another training.
    """
    output = output.resolve()  # the place itself, where the path is a link
    draft = output.with_name(output.name + ".tmp")
    checkpoints = output.with_name(output.name + ".checkpoints")
    shutil.rmtree(draft, ignore_errors=True)
    refuse_changed(training, checkpoints)
    tokenizer = training.make_tokenizer(draft)
    model = training.make_model(tokenizer)
    arguments = training_arguments(training, checkpoints)
    trainer = training.make_trainer(model, tokenizer, arguments)
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    report = {
        "config": asdict(training.settings),
        "parameters": model.num_parameters(),
        **training.facts(trainer),
        "data": data_identity(training.sets.train, training.settings),
        "scores": {},
    }
    training.save_model(model, draft)
    (draft / "model.safetensors").chmod(0o644)  # safetensors makes it private
    write_report(draft, report)
    os.replace(draft, output)  # nothing lies there but, at most, an empty directory
    shutil.rmtree(checkpoints)


def score_missing(training: TeacherTraining, output: Path) -> dict[str, Any]:
    """Score the sets that the report lacks with the weights on disk; give the report."""
    report = read_report(output)
    for path in unscored(report, training.sets.scored):
        name = scored_name(path, training.settings.kind == "text")
        report["scores"][name] = training.score(output, path)
        write_report(output, report)
    return report


def training_arguments(training: TeacherTraining, checkpoints: Path) -> TrainingArguments:
    """Return transformers' arguments: defaults, overridden by the YAML.

    Parameters
    ----------
    training : of either kind.
    checkpoints : their directory.

    Raises
    ------
    UserError : arguments that transformers does not take.
    """
    given = DEFAULTS | training.defaults | training.settings.training
    try:
        return TrainingArguments(output_dir=str(checkpoints), **given)
    except (TypeError, ValueError) as error:
        raise UserError(f"training: {error}") from error


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; incomplete ones, left by a kill, are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
    for one in reversed(found):
        try:
            json.loads((one / "trainer_state.json").read_text())  # written last
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(one)
        else:
            return str(one)
    return None


def refuse_changed(training: TeacherTraining, checkpoints: Path) -> None:
    """Remember what is trained.

    Raises
    ------
    UserError : the checkpoints are of something else.
    """
    settings = asdict(training.settings)
    data = data_identity(training.sets.train, training.settings)
    begun = {"settings": settings, "content": training.content(), "data": data}
    now = json.dumps(begun, sort_keys=True)
    record = checkpoints / BEGUN
    if record.exists() and record.read_text(encoding="utf-8") != now:
        raise UserError(
            f"{checkpoints}: begun with another config or other data; remove it to start anew"
        )
    write_text_atomic(record, now)
