"""``conf/systems.yaml``: the teachers, trainings and systems of a recipe.

::

    teachers:                       # whose targets the configs name
      hubert:
        config: teacher/hubert.yaml            # for distill-asr dump
        train: {config: teacher_hubert.yaml, train: data/teacher_train, dev: data/teacher_dev}
      bert: teacher/bert.yaml                  # comes trained
      bert_9: {config: teacher/bert.yaml, set: {layers: [9]}}
    recogniser: {config: recogniser.yaml}      # a teacher of one-best paths, unless `dump:` differs
    labeller: teacher/whisper_words.yaml       # pretrained; its words are the pseudo-labels
    pretrain:                       # stage 1: trainings that systems share
      two: {config: [a.yaml, b.yaml], train: [train, unlab], set: {max_epoch: 90}}
      letters: {pretrain: two, config: ctc.yaml, train: [train]}   # begins with a stage above it
      clean: {config: a.yaml, train: [clean], valid: [clean_dev]}  # not the recipe's dev sets
    systems:                        # a row of the table each
      baseline: {config: a.yaml, set: {max_epoch: 130}}
      two_teachers: {pretrain: two, config: a.yaml}
      everything: {pretrain: two, config: [a.yaml, path.yaml], pseudo_labels: [unlab]}
      again: {repeats: two_teachers}           # same seeds; measures the noise, no row of its own

Files are relative to the file itself, or else to the nearest ``conf/`` above it, where recipes
share students, methods and teachers. A ``config`` is one file or a list, merged from left to right;
``set`` overrides both. For a teacher, ``set`` may replace the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from distill_asr.errors import UserError, nearest
from distill_asr.io.yaml import find_shared, load_config, load_yaml
from distill_asr.teachers.config import TeacherConfig
from distill_asr.train.config import TrainConfig

RECOGNISER = "recogniser"  # its experiment and its targets
LABELLER = "labeller"
RECOGNISER_EXPERIMENT = f"exp/{RECOGNISER}_seed1"
PATHS = {"kind": "recogniser", "model": RECOGNISER_EXPERIMENT, "output": "path"}
INIT_PARTS = ("encoder",)


@dataclass(frozen=True)
class ConfigFiles:
    """A config of several files, merged from left to right, with what is set besides."""

    name: str
    config: tuple[Path, ...]
    set: Mapping[str, Any] = field(default_factory=dict)

    def overrides(self, more: Sequence[str] = ()) -> list[str]:
        """``key.path=value`` of each, as ``--set`` takes it."""
        return [f"{key}={_flow(value)}" for key, value in self.set.items()] + list(more)


@dataclass(frozen=True)
class RecipeTraining(ConfigFiles):
    """How ``distill-asr train-teacher`` makes a teacher."""

    train: str = ""  # a data directory, or sentences
    dev: str = ""


@dataclass(frozen=True)
class RecipeTeacher(ConfigFiles):
    """A teacher whose targets configs name, as ``distill-asr dump`` takes it."""

    train: RecipeTraining | None = None  # None: it comes trained

    def resolved(self) -> TeacherConfig:
        """The teacher that is dumped.

        Raises
        ------
        UserError : all its mistakes at once.
        """
        alone = self.name in (RECOGNISER, LABELLER)
        key = self.name if alone else f"teachers.{self.name}"
        return TeacherConfig.read(self.config, self.overrides(), key)


@dataclass(frozen=True)
class Training(ConfigFiles):
    """The training of a student."""

    def resolved(self, more: Sequence[str] = ()) -> TrainConfig:
        """The config that the training gets."""
        return TrainConfig.parse(load_config(self.config, self.overrides(more)), self.name)


@dataclass(frozen=True)
class Stage(Training):
    """One of a student's trainings, after another stage or from random weights."""

    pretrain: str | None = None
    init_parts: tuple[str, ...] = INIT_PARTS  # what it takes over from the stage before


@dataclass(frozen=True)
class Pretraining(Stage):
    """A stage that systems share, on these prepared sets."""

    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()  # those of the recipe where not given


@dataclass(frozen=True)
class System(Stage):
    """A row of the table: the last stage."""

    pseudo_labels: tuple[str, ...] = ()  # unlabelled sets with the labeller's words
    repeats: str | None = None  # a system, trained again: how much its errors differ by chance


@dataclass(frozen=True)
class RecipeRecogniser:
    """A recogniser that the recipe trains as a teacher of paths and pseudo-labels."""

    training: Training
    dump: RecipeTeacher


@dataclass(frozen=True)
class Systems:
    """The whole file."""

    path: Path
    teachers: dict[str, RecipeTeacher]
    pretrain: dict[str, Pretraining]
    systems: dict[str, System]
    recogniser: RecipeRecogniser | None = None
    labeller: RecipeTeacher | None = None  # None: pseudo-labels are the recogniser's

    @classmethod
    def read(cls, path: str | Path) -> Systems:
        """Read and check the file, but not the configs that it names.

        Raises
        ------
        UserError : all mistakes at once.
        """
        return _Reader(Path(path)).read()

    def before(self, stage: Stage) -> list[Pretraining]:
        """The stages before this one, the first of them first."""
        if stage.pretrain is None:
            return []
        last = self.pretrain[stage.pretrain]
        return [*self.before(last), last]

    def chosen(self, names: str) -> list[System]:
        """Systems by name, split by commas; ``all`` for every one. In the order of the file.

        Raises
        ------
        UserError : names that are not there.
        """
        if names == "all":
            return list(self.systems.values())
        asked = [name for name in names.split(",") if name]
        unknown = [name for name in asked if name not in self.systems]
        if unknown or not asked:
            raise UserError(
                [
                    f"{self.path}: no system {name!r}{nearest(name, self.systems)}"
                    for name in unknown
                ]
                or f"{self.path}: no system asked for; there are {', '.join(self.systems)}"
            )
        return [system for name, system in self.systems.items() if name in asked]


def _flow(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    return text.removesuffix("...\n").strip()


def _repeated(part: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """A repeat takes what it leaves out from the system that it repeats."""
    given = dict(part)

    def filled(value: object) -> object:
        original = (
            given.get(value["repeats"]) if isinstance(value, dict) and "repeats" in value else None
        )
        return {**original, **value} if isinstance(original, dict) else value

    return [(name, filled(value)) for name, value in part]


Kind = TypeVar("Kind")


class _Reader:
    """Reads a file part by part and keeps what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.problems: list[str] = []

    def read(self) -> Systems:
        content = load_yaml(self.path)
        allowed = ("teachers", RECOGNISER, LABELLER, "pretrain", "systems")
        for key in content:
            if key not in allowed:
                self.problems.append(f"{key}: unknown key{nearest(key, allowed)}")
        teachers = {
            name: self._teacher(name, value) for name, value in self._part(content, "teachers")
        }
        pretrain = {
            name: self._training(Pretraining, f"pretrain.{name}", name, value)
            for name, value in self._part(content, "pretrain")
        }
        systems = {
            name: self._training(System, f"systems.{name}", name, value)
            for name, value in _repeated(self._part(content, "systems"))
        }
        recogniser = self._recogniser(content.get(RECOGNISER))
        if not systems:
            self.problems.append("systems: missing; expected 'name: {config: ...}' lines")
        labeller = self._labeller(content.get(LABELLER))
        self._check_names(pretrain, systems, recogniser is not None or labeller is not None)
        if self.problems:
            raise UserError([f"{self.path}: {problem}" for problem in self.problems])
        return Systems(self.path, teachers, pretrain, systems, recogniser, labeller)

    def _part(self, content: dict, key: str) -> list[tuple[str, object]]:
        part = content.get(key) or {}
        if isinstance(part, dict):
            return [(str(name), value) for name, value in part.items()]
        self.problems.append(f"{key}: expected 'name: ...' lines, found {part!r}")
        return []

    def _teacher(self, name: str, value: object) -> RecipeTeacher:
        key = f"teachers.{name}"
        values = self._configured(key, value, ("train",))
        if (given := values.pop("train", None)) is not None:
            values["train"] = self._teacher_training(f"{key}.train", name, given)
        return RecipeTeacher(name, **values)

    def _teacher_training(self, key: str, name: str, value: object) -> RecipeTraining:
        values = self._configured(key, value, ("train", "dev"))
        for part in ("train", "dev"):
            if not isinstance(values.get(part), str):
                self.problems.append(f"{key}.{part}: expected a path")
        return RecipeTraining(name, **values)

    def _configured(self, key: str, value: object, more: Sequence[str] = ()) -> dict[str, Any]:
        """Description of a teacher: files, ``set``, or both; and ``more``, unchanged."""
        given = {"config": value} if isinstance(value, (str, list)) else value
        values = self._fields(key, given, ("config", "set", *more))
        files = self._words(f"{key}.config", values.pop("config", None))
        if isinstance(given, dict) and not (files or values.get("set")):
            self.problems.append(f"{key}: neither config nor set is given; expected one")
        self._check_set(key, values)
        return values | {"config": tuple(self._file(f"{key}.config", file) for file in files)}

    def _check_set(self, key: str, values: dict[str, Any]) -> None:
        if not isinstance(values.get("set", {}), dict):
            self.problems.append(f"{key}.set: expected 'key.path: value' lines")

    def _recogniser(self, value: object) -> RecipeRecogniser | None:
        if value is None:
            return None
        values = self._fields(RECOGNISER, value, ("config", "set", "dump"))
        dump = self._configured(f"{RECOGNISER}.dump", values.pop("dump", {"set": PATHS}))
        training = self._training(Training, RECOGNISER, RECOGNISER, values)
        return RecipeRecogniser(training, RecipeTeacher(RECOGNISER, **dump))

    def _labeller(self, value: object) -> RecipeTeacher | None:
        return (
            None if value is None else RecipeTeacher(LABELLER, **self._configured(LABELLER, value))
        )

    def _training(self, kind: type[Kind], key: str, name: str, value: object) -> Kind:
        names = [one.name for one in dataclasses.fields(kind) if one.name != "name"]
        values = self._fields(key, value, names)
        files = self._words(f"{key}.config", values.pop("config", None))
        if not files:
            self.problems.append(f"{key}.config: missing; expected a YAML or a list of them")
        config = tuple(self._file(f"{key}.config", file) for file in files)
        for part in ("train", "valid", "init_parts", "pseudo_labels"):
            if part in values:
                values[part] = self._words(f"{key}.{part}", values[part])
        self._check_set(key, values)
        if "train" in names and not values.get("train"):
            self.problems.append(f"{key}.train: missing; expected prepared sets, such as [train]")
        if any(mark in name for mark in ",/ "):
            self.problems.append(
                f"{key}: a name becomes a directory and stands in lists with commas; use "
                "letters, digits, _ and - only"
            )
        return kind(name=name, config=config, **values)

    def _fields(self, key: str, value: object, allowed: Sequence[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.problems.append(f"{key}: expected {{{', '.join(allowed)}}}, found {value!r}")
            return {}
        for name in value:
            if name not in allowed:
                self.problems.append(f"{key}.{name}: unknown key{nearest(name, allowed)}")
        return {name: content for name, content in value.items() if name in allowed}

    def _words(self, key: str, value: object) -> tuple[str, ...]:
        words = [value] if isinstance(value, str) else value
        if words is None:
            return ()
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self.problems.append(f"{key}: expected a name or a list of names, found {value!r}")
            return ()
        return tuple(words)

    def _file(self, key: str, value: object) -> Path:
        if not isinstance(value, str):
            self.problems.append(f"{key}: expected a file, found {value!r}")
            return self.folder
        path = find_shared(value, self.folder)
        if not path.is_file():
            self.problems.append(
                f"{key}: no such file: {value}, neither in {self.folder} nor in a conf/ above "
                "it; correct the name"
            )
        return path.resolve()

    def _check_names(
        self,
        pretrain: dict[str, Pretraining],
        systems: dict[str, System],
        labels: bool,
    ) -> None:
        above: list[str] = []  # which excludes circles
        for name, stage in pretrain.items():
            if stage.pretrain in pretrain and stage.pretrain not in above:
                self.problems.append(
                    f"pretrain.{name}.pretrain: {stage.pretrain!r} does not stand above "
                    f"{name!r}; put the earlier stage first"
                )
            above.append(name)
        stages = {f"pretrain.{name}": one for name, one in pretrain.items()}
        stages |= {f"systems.{name}": one for name, one in systems.items()}
        for key, one in stages.items():
            if one.pretrain is not None and one.pretrain not in pretrain:
                hint = nearest(one.pretrain, pretrain)
                self.problems.append(f"{key}.pretrain: {one.pretrain!r}{hint}")
        for name, system in systems.items():
            if system.repeats is not None and system.repeats not in systems:
                hint = nearest(system.repeats, systems)
                self.problems.append(f"systems.{name}.repeats: {system.repeats!r}{hint}")
            if system.pseudo_labels and not labels:
                self.problems.append(
                    f"systems.{name}.pseudo_labels: they need a recogniser; describe it under "
                    f"`{RECOGNISER}:`, or a pretrained one under `{LABELLER}:`"
                )
            if name == RECOGNISER:
                self.problems.append(
                    f"systems.{name}: this name is taken by the recogniser's experiment; choose "
                    "another"
                )
