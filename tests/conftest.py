"""A recipe directory to train in, and targets made without a teacher."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings

from distill_asr import cli
from distill_asr.targets.manifest import Manifest
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.fixtures import make_prepared_dir, tiny_config, write_targets, write_tokens

pytest_plugins = ["distill_asr.testing.skips"]
# how long an example takes says how busy the machine is
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The same sums in the same order, byte for byte, here and in every process a test starts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


TEACHERS = {"one": 6, "two": 4}  # widths


class Recipe:
    """Prepared sets with targets of two made-up teachers; verbs run in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.tokens = write_tokens(root / "tokens.txt")
        self.train_set = self.add_set("train", seed=1)
        self.dev_set = self.add_set("dev", seed=2, utterances=2)

    def add_set(self, name: str, teachers: Sequence[str] = ("one", "two"), **options) -> Path:
        """A prepared set, dumped by ``teachers``."""
        path = make_prepared_dir(self.root / "dump" / name, **options)
        for teacher in teachers:
            self.dump(path, teacher)
        return path

    def dump(self, path: Path, teacher: str, **settings: object) -> None:
        """Targets of one teacher, each with weights of its own."""
        seed = list(TEACHERS).index(teacher)
        settings = {"weights_sha256": str(seed) * 64, "codec": {"name": "fp16"}} | settings
        write_targets(path, teacher, width=TEACHERS[teacher], step_ms=20.0, seed=seed, **settings)

    def config(self, model: str, teachers: Sequence[str] = (), name: str = "", **changes) -> Path:
        """A config file with a distiller ``d_<teacher>`` for each of ``teachers``."""
        distill = {
            f"d_{teacher}": {"teacher": teacher, "tap": "encoder", "loss": "l1"}
            for teacher in teachers
        }
        content = tiny_config(model, self.tokens, distill or None, **changes)
        path = self.root / f"{name or model}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def train_command(self, config: Path, output: str, *more: object, **sets) -> list[str]:
        """Arguments of ``distill-asr``; ``more`` goes before a ``--`` of yours."""
        command = ["train", "--config", config, "--output", self.root / output]
        for part, default in (("train", self.train_set), ("valid", self.dev_set)):
            for directory in sets.get(part, [default]):
                command += [f"--{part}", directory]
        return [str(word) for word in [*command, *more]]

    def train(self, config: Path, output: str, *more: object, **sets) -> Path:
        """A training that succeeds; its directory."""
        assert cli.main(self.train_command(config, output, *more, **sets)) == 0
        return self.root / output


@pytest.fixture(scope="session")
def make_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recipe]:
    """Function that makes a recipe directory, for fixtures that live longer than a test."""
    return lambda name: Recipe(tmp_path_factory.mktemp(name) / "recipe")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe directory of its own."""
    return Recipe(tmp_path / "recipe")


Made = tuple[Path, dict[str, np.ndarray], Manifest]


@pytest.fixture
def lengths() -> dict[str, int]:
    """Samples of each utterance, not in the order of ids; 35 frames of 20 ms in all."""
    return {"b": 2240, "a": 1600, "d": 2880, "c": 1920, "é": 2560}


@pytest.fixture
def make_targets(tmp_path: Path, lengths: dict[str, int]) -> Callable[..., Made]:
    """Function that writes a data dir and targets of width 3 for it, two utterances a shard."""

    def make(name: str = "train", lengths: dict[str, int] = lengths, **changes: object) -> Made:
        data = write_data_dir(tmp_path / name, lengths)
        states, manifest = write_targets(data, "t", **changes)
        return data / "targets/t", states, manifest

    return make
