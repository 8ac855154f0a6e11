"""Checks the files of a recipe: every training of its grid, every teacher."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.recipe.systems import RecipeTeacher, Systems, Training
from distill_asr.train.checks import check_config
from distill_asr.train_teacher.settings import read_settings


def check_systems(path: Path) -> int:
    """Check a ``systems.yaml`` and all that it names, as seen from the recipe's directory.

    A student whose encoder is a pretrained model that does not lie here cannot be built, and so is
    checked in all but that.

    Returns
    -------
    Number of trainings checked.

    Raises
    ------
    UserError : every mistake of every file.
    """
    systems = Systems.read(path)
    problems: list[str] = []
    with inside(systems.path.resolve().parent.parent):
        trainings: list[Training] = [*systems.pretrain.values(), *systems.systems.values()]
        if systems.recogniser is not None:
            trainings.append(systems.recogniser.training)
            problems += _problems(systems.recogniser.dump.resolved)
        if systems.labeller is not None:
            problems += _problems(_check_labeller, systems.labeller)
        for training in trainings:
            problems += _training_problems(systems, training)
        for teacher in systems.teachers.values():
            problems += _problems(teacher.resolved)
            if teacher.train is not None:
                problems += _problems(
                    read_settings, teacher.train.config, teacher.train.overrides()
                )
    if problems:
        raise UserError([f"{path}: {problem}" for problem in dict.fromkeys(problems)])
    return len(trainings)


def _check_labeller(labeller: RecipeTeacher) -> None:
    config = labeller.resolved()
    if (config.kind, config.output) != ("recogniser", "words"):
        raise UserError(
            f"labeller: kind {config.kind!r}, output {config.output!r}; expected a file of `kind: "
            "recogniser` and `output: words`"
        )


def _training_problems(systems: Systems, training: Training) -> list[str]:
    try:
        config = training.resolved()
        missing = [
            f"{training.name}: distill: no teacher {name!r} under `teachers:`; add it there"
            for name in config.teachers
            if name not in systems.teachers and not (systems.recogniser and name == "recogniser")
        ]
        model = config.pretrained_encoder
        if model is not None and not Path(model).is_dir():  # from the hub, or trained by the recipe
            return missing
        return missing + _problems(check_config, config)
    except UserError as error:
        return error.problems


def _problems(check: Any, *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except UserError as error:
        return error.problems
    return []


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Within the block, the working directory is this one."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
