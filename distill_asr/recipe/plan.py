"""The commands of a recipe's stages for the chosen systems."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.io.yaml import load_config
from distill_asr.recipe.jobs import Job
from distill_asr.recipe.systems import (
    INIT_PARTS,
    RECOGNISER,
    RECOGNISER_EXPERIMENT,
    ConfigFiles,
    Pretraining,
    RecipeTeacher,
    RecipeTraining,
    Stage,
    System,
    Systems,
    Training,
)

PROGRAM = "distill-asr"
LOGS = Path("exp/logs")
TEACHERS = Path("exp/teachers")


@dataclass(frozen=True)
class Sets:
    """Prepared sets, names below ``dump/``."""

    train: tuple[str, ...] = ("train",)  # with transcripts
    unlabelled: tuple[str, ...] = ()
    valid: tuple[str, ...] = ("dev",)
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """The chosen systems, and how to compute them."""

    systems: Systems
    chosen: list[System]
    seeds: tuple[int, ...]
    sets: Sets
    folder: Path = Path()  # where data, dump and exp lie
    cmd: tuple[str, ...] = ()  # put before each command, to run it elsewhere
    set: tuple[str, ...] = ()  # key.path=value for every training

    def job(self, name: str, arguments: Iterable[str | Path], after: Iterable[str] = ()) -> Job:
        """A job of this folder.

        Parameters
        ----------
        name : of the job and of its log.
        arguments : verb and options of ``distill-asr``.
        after : names of jobs that must have succeeded before.
        """
        label = name if self.folder == Path() else f"{self.folder.name}: {name}"
        command = (*self.cmd, PROGRAM, *map(str, arguments))
        log = LOGS / f"{name.replace(' ', '_')}.log"
        return Job(label, command, log, self.folder, tuple(after))

    def file(self, path: Path) -> str:
        """A file as it is named from the folder."""
        return os.path.relpath(path, self.folder.resolve())


def pretrain_jobs(grid: Grid) -> list[Job]:
    """The stages before the last: a training that systems share is one job."""
    stages = {stage.name: stage for system in grid.chosen for stage in grid.systems.before(system)}
    return [_pretrain_job(grid, stage, seed) for seed in grid.seeds for stage in stages.values()]


def train_jobs(grid: Grid) -> list[Job]:
    """All stages: each starts when the one before it is done."""
    first = {job.name: job for job in pretrain_jobs(grid)}
    return [
        *first.values(),
        *(_train_job(grid, s, seed) for seed in grid.seeds for s in grid.chosen),
    ]


def decode_jobs(grid: Grid, options: Sequence[str] = ()) -> list[Job]:
    """Decode the test sets with every system.

    Parameters
    ----------
    grid : the chosen systems, their seeds and the sets.
    options : further ones of ``decode``.
    """
    data = [f"dump/{name}" for name in grid.sets.test]
    return [
        grid.job(
            f"decode {system.name}_seed{seed}",
            ["decode", "--exp", f"exp/{system.name}_seed{seed}", "--data", *data, *options],
        )
        for seed in grid.seeds
        for system in grid.chosen
    ]


def recogniser_jobs(grid: Grid, decode: Sequence[str], pseudo: Sequence[str]) -> list[Job]:
    """Train the recogniser and decode with it, and label; what no system needs is left out.

    Parameters
    ----------
    grid : the chosen systems, which decide what is needed.
    decode, pseudo : options of these commands.
    """
    jobs = _own_recogniser(grid, decode)
    labeller = grid.systems.labeller
    if labeller is None:
        source = ["--exp", RECOGNISER_EXPERIMENT]
    else:
        source = [*_teacher_files(grid, labeller), *_set(labeller.overrides())]
    after = [] if labeller is not None else [job.name for job in jobs[:1]]
    for name in pseudo_labelled(grid):
        arguments = ["pseudo-label", *source, "--data", f"dump/{name}"]
        arguments += ["--output", f"dump/{name}_pseudo", *pseudo]
        jobs.append(grid.job(f"pseudo-label {name}", arguments, after))
    return jobs


def _own_recogniser(grid: Grid, decode: Sequence[str]) -> list[Job]:
    recogniser = grid.systems.recogniser
    if recogniser is None or not needs_recogniser(grid):
        return []
    config = _config(grid, recogniser.training, grid.set)
    data = _data(grid.sets.train, grid.sets.valid)
    arguments = ["train", *config, *data, "--output", RECOGNISER_EXPERIMENT]
    jobs = [grid.job(f"train {RECOGNISER}", arguments)]
    if grid.sets.test:
        tests = [f"dump/{name}" for name in grid.sets.test]
        arguments = ["decode", "--exp", RECOGNISER_EXPERIMENT, "--data", *tests, *decode]
        jobs.append(grid.job(f"decode {RECOGNISER}", arguments, [jobs[0].name]))
    return jobs


def needs_recogniser(grid: Grid) -> bool:
    """Whether a system is trained on the recipe's own recogniser's paths or words."""
    labels = grid.systems.labeller is None and bool(pseudo_labelled(grid))
    return RECOGNISER in targets(grid) or labels


def pseudo_labelled(grid: Grid) -> list[str]:
    """Unlabelled sets whose pseudo-labels a chosen system is trained on."""
    return list(dict.fromkeys(name for system in grid.chosen for name in system.pseudo_labels))


def dump_jobs(grid: Grid, options: Sequence[str] = ()) -> list[Job]:
    """Targets of each teacher, for the sets whose trainings use them.

    Parameters
    ----------
    grid : the chosen systems, which decide what is needed.
    options : further ones of ``dump``.
    """
    jobs = []
    for name, sets in targets(grid).items():
        if name == RECOGNISER and grid.systems.recogniser is not None:
            teacher = grid.systems.recogniser.dump
        else:
            teacher = grid.systems.teachers[name]
        arguments = ["dump", *_teacher_files(grid, teacher)]
        arguments += [*_set(teacher.overrides()), "--name", name, *options]
        jobs.append(grid.job(f"dump {name}", [*arguments, *(f"dump/{one}" for one in sets)]))
    return jobs


def targets(grid: Grid) -> dict[str, list[str]]:
    """Sets by teacher: the targets that the chosen systems need.

    Stage 1 is validated by its distillation loss, so it needs targets there;
    stage 2 is validated by the recognition loss alone.
    """
    wanted: dict[str, set[str]] = {}
    for training, sets in _trainings(grid):
        config = training.resolved(grid.set)
        judged = () if config.needs_text else valid_sets(grid, training)
        for teacher in config.teachers:
            wanted.setdefault(teacher, set()).update(sets, judged)
    pseudo = [f"{name}_pseudo" for name in pseudo_labelled(grid)]
    order = [*grid.sets.train, *grid.sets.unlabelled, *pseudo, *grid.sets.valid]
    place = {name: i for i, name in enumerate(order)}
    return {
        teacher: sorted(sets, key=lambda name: (place.get(name, len(order)), name))
        for teacher, sets in wanted.items()
    }


def teacher_jobs(grid: Grid, more: Sequence[str] = ()) -> list[Job]:
    """Train the recipe's own teachers.

    Parameters
    ----------
    grid : the chosen systems, which decide what is needed.
    more : key.path=value for each.
    """
    return [
        grid.job(f"train-teacher {own.name}", _teacher_arguments(grid, own.name, own.train, more))
        for own in own_teachers(grid)
        if own.train is not None
    ]


def own_teachers(grid: Grid) -> list[RecipeTeacher]:
    """Teachers that the recipe trains and the chosen systems need.

    A training needs the teachers whose targets it uses, and those whose directory stands in
    its config, as that of a recogniser that starts from one, or in the file of a teacher that runs
    in its steps.
    """
    needed = set(targets(grid))
    trainings = [training for training, _ in _trainings(grid)]
    if grid.systems.recogniser is not None and needs_recogniser(grid):
        trainings.append(grid.systems.recogniser.training)
    places = {str(TEACHERS / name): name for name in grid.systems.teachers}
    for training in trainings:
        config = training.resolved(grid.set)
        online = [load_config(grid.folder / path) for path in config.online_teachers]
        needed |= {places[text] for text in _texts([config.content, *online]) if text in places}
    own = [teacher for teacher in grid.systems.teachers.values() if teacher.train is not None]
    return [teacher for teacher in own if teacher.name in needed]


def _texts(content: object) -> Iterator[str]:
    """Every string value of a config."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _texts(value)


def score_jobs(grid: Grid, baseline: str | None = None, control: str | None = None) -> list[Job]:
    """One table of all systems, and of the recogniser if given. A repeat does not make a row.

    Parameters
    ----------
    grid : the chosen systems, their seeds and the sets.
    baseline : the system compared with; the first one where not given.
    control : another one, which every gain must exceed as well.
    """
    names = [system.name for system in grid.chosen if system.repeats is None]
    seeds = ",".join(map(str, grid.seeds))
    arguments = _score_arguments(grid, names, seeds, baseline, "exp/RESULTS.md")
    if control is not None:
        arguments += ["--control", control]
    for system in grid.chosen:
        if system.repeats in names:
            arguments += ["--repeat", f"{system.name}={system.repeats}"]
    jobs = [grid.job("score", arguments)]
    if needs_recogniser(grid):
        out = f"{RECOGNISER_EXPERIMENT}/RESULTS.md"
        arguments = _score_arguments(grid, [RECOGNISER], "1", RECOGNISER, out)
        jobs.append(grid.job(f"score {RECOGNISER}", arguments))
    return jobs


def _score_arguments(
    grid: Grid, names: list[str], seeds: str, baseline: str | None, out: str
) -> list[str]:
    arguments = ["score", "--exp", "exp", "--dump", "dump", "--systems", ",".join(names)]
    arguments += ["--seeds", seeds, "--sets", ",".join(grid.sets.test)]
    return [*arguments, "--baseline", baseline or names[0], "--out", out]


def _teacher_arguments(
    grid: Grid, name: str, training: RecipeTraining, more: Sequence[str]
) -> list[str]:
    arguments = ["train-teacher", *_config(grid, training, more)]
    arguments += ["--train", training.train, "--dev", training.dev]
    for test in grid.sets.test:
        arguments += ["--test", f"dump/{test}"]
    return [*arguments, "--output", str(TEACHERS / name)]


def _trainings(grid: Grid) -> Iterator[tuple[Training, tuple[str, ...]]]:
    """Every training, with its training sets."""
    for system in grid.chosen:
        for pretraining in grid.systems.before(system):
            yield pretraining, pretraining.train
        yield system, _train_sets(grid, system)


def _train_sets(grid: Grid, system: System) -> tuple[str, ...]:
    return (*grid.sets.train, *(f"{name}_pseudo" for name in system.pseudo_labels))


def valid_sets(grid: Grid, training: Training) -> tuple[str, ...]:
    """What a training is validated on: sets of its own, or the recipe's."""
    own = training.valid if isinstance(training, Pretraining) else ()
    return own or grid.sets.valid


def _pretrain_job(grid: Grid, pretraining: Pretraining, seed: int) -> Job:
    output = _pretrained(pretraining.name, seed)
    data = _data(pretraining.train, valid_sets(grid, pretraining))
    arguments = ["train", *_config(grid, pretraining, grid.set), *data]
    arguments += ["--set", f"seed={seed}"]
    init, after = _stage_before(grid, pretraining, seed)
    arguments += [*init, "--output", output]
    return grid.job(f"pretrain {pretraining.name}_seed{seed}", arguments, after)


def _train_job(grid: Grid, system: System, seed: int) -> Job:
    data = _data(_train_sets(grid, system), grid.sets.valid)
    arguments = ["train", *_config(grid, system, grid.set), *data]
    arguments += ["--set", f"seed={seed}"]
    init, after = _stage_before(grid, system, seed)
    arguments += [*init, "--output", f"exp/{system.name}_seed{seed}"]
    return grid.job(f"train {system.name}_seed{seed}", arguments, after)


def _stage_before(grid: Grid, stage: Stage, seed: int) -> tuple[list[str], list[str]]:
    """Options that begin with the stage before, and the job that must have trained it."""
    if stage.pretrain is None:
        return [], []
    options = ["--init", _pretrained(stage.pretrain, seed)]
    if stage.init_parts != INIT_PARTS:
        options += ["--init-parts", ",".join(stage.init_parts)]
    return options, [grid.job(f"pretrain {stage.pretrain}_seed{seed}", []).name]


def _pretrained(name: str, seed: int) -> str:
    return f"exp/pretrain_{name}_seed{seed}"


def _config(grid: Grid, files: ConfigFiles, more: Sequence[str]) -> list[str]:
    arguments = ["--config", *(grid.file(path) for path in files.config)]
    return [*arguments, *_set(files.overrides(more))]


def _teacher_files(grid: Grid, teacher: RecipeTeacher) -> list[str]:
    return [word for path in teacher.config for word in ("--teacher", grid.file(path))]


def _set(overrides: Iterable[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def _data(train: Iterable[str], valid: Iterable[str]) -> list[str]:
    arguments = []
    for option, names in (("--train", train), ("--valid", valid)):
        for name in names:
            arguments += [option, f"dump/{name}"]
    return arguments


def words(text: str) -> tuple[str, ...]:
    """Split as a shell would, so that options come as one argument."""
    return tuple(shlex.split(text))
