"""ESPnet's own keys of a config: class choices with their arguments, and options of the task."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from espnet2.utils.types import float_or_none, int_or_none, str2bool, str_or_none

from distill_asr.espnet.options import check_choice, check_joint_network, check_top_level
from distill_asr.io.arguments import check_arguments


class Target:
    """Stands for a class that a config names."""

    def __init__(self, size: int, rate: float = 0.1) -> None:
        pass


# -- class choices -------------------------------------------------------------


def choice(config: dict, default: str | None = "target") -> list[str]:
    return check_choice(config, "part", {"target": Target}, default, {"size"})


def test_choices() -> None:
    assert choice({}) == []
    assert choice({"part": "target", "part_conf": {"rate": 2}}) == []
    assert choice({"part": None}) == []
    assert choice({}, default=None) == []
    assert choice({"part": "targt"}) == ["part: 'targt' is unknown; did you mean 'target'?"]
    assert choice({"part": ["target"]}) == ["part: ['target'] is unknown; did you mean 'target'?"]
    assert choice({"part": 5}) == ["part: 5 is unknown; allowed: target"]
    assert choice({"part_conf": {"ratte": 2}}) == [
        "part_conf.ratte: Target takes no such argument; did you mean 'rate'?"
    ]
    assert choice({"part": None, "part_conf": {"rate": 2}}) == [
        "part_conf: given, but no part is chosen"
    ]


def test_every_registered_class_can_be_asked_for_its_arguments() -> None:
    from espnet2.tasks.abs_task import optim_classes, scheduler_classes

    from distill_asr.espnet.task import DistillTask

    registries = [c.classes for c in DistillTask.class_choices_list]
    for classes in [*registries, optim_classes, scheduler_classes]:
        for name, found in classes.items():
            problems = check_arguments(name, {"no_such_argument_": 1}, found, set())
            assert any("no_such_argument_: " in problem for problem in problems), name


# -- joint network ---------------------------------------------------------------


def test_joint_network_takes_its_own_and_the_activations_arguments() -> None:
    assert check_joint_network(None) == []
    conf = {"joint_space_size": 8, "joint_activation_type": "swish", "ftswish_threshold": -0.2}
    assert check_joint_network(conf) == []
    (problem,) = check_joint_network({"joint_space_sise": 8})
    assert "did you mean 'joint_space_size'?" in problem
    assert check_joint_network([1]) == ["joint_net_conf: expected a mapping, found [1]"]


# -- options of the task -----------------------------------------------------------


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--clip", type=float, default=5.0)
    made.add_argument("--amp", type=str2bool, default=False)
    made.add_argument("--seed", type=int_or_none, default=None)
    made.add_argument("--scale", type=float_or_none, default=None)
    made.add_argument("--note", type=str_or_none, default=None)
    made.add_argument("--sampler", choices=["sorted", "folded"], default="folded")
    made.add_argument("--part", choices=["target"], default="target")
    made.add_argument("--part_conf", default={})
    made.add_argument("--names", nargs="*", default=[])
    return made


def test_good_options(parser: argparse.ArgumentParser) -> None:
    config = {"epochs": 3, "clip": 1, "amp": True, "seed": None, "scale": 0.5, "note": "x",
              "sampler": "sorted", "names": ["a"], "part": "target", "part_conf": {}}  # fmt: skip
    assert check_top_level(config, parser) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("epoch", 3, "unknown key; did you mean 'epochs'?"),
        ("epochs", "3", "expected int, found '3' (text: write 3)"),
        ("epochs", 3.5, "expected int, found 3.5"),
        ("epochs", None, "expected int, found None"),
        ("clip", "1e1", "expected float, found '1e1' (text: write 10.0)"),
        ("amp", "true", "expected bool, found 'true' (text)"),
        ("seed", 0.5, "expected int | None, found 0.5"),
        ("note", 5, "expected str | None, found 5"),
        ("sampler", "sort", "'sort'; did you mean 'sorted'?"),
        ("sampler", 5, "5; allowed: folded, sorted"),
    ],
)
def test_bad_options(parser: argparse.ArgumentParser, key: str, value: Any, said: str) -> None:
    assert check_top_level({key: value}, parser) == [f"{key}: {said}"]
