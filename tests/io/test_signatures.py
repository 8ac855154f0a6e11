"""Values against constructors and options."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from espnet2.utils.types import float_or_none, int_or_none, str2bool, str_or_none

from distill_asr.io.arguments import (
    check_arguments,
    check_choice,
    check_joint_network,
    check_top_level,
)


class Target:
    """Stands for a class that a config names."""

    def __init__(
        self,
        size: int,
        rate: float = 0.1,
        name: str = "x",
        flag: bool = False,
        maybe: int | None = None,
        pair: tuple[int, float] = (1, 1.0),
        many: list[str] | None = None,
        kind: Literal["a", "b"] = "a",
        anything: Any = None,
        number_or_flag: int | bool = 0,
        loose=3,
    ) -> None:
        if size < 0:
            raise ValueError(f"size must be 0 or more, not {size}")


def check(conf: object, **options: Any) -> list[str]:
    return check_arguments("x_conf", conf, Target, options.pop("hidden", set()), **options)


@pytest.mark.parametrize(
    "conf",
    [
        {"size": 1},
        {"size": 1, "rate": 1, "name": "y", "flag": True, "maybe": None},
        {"size": 1, "rate": 1e-3, "maybe": 4, "pair": [1, 2], "many": ["a"], "kind": "b"},
        {"size": 1, "anything": [{}], "number_or_flag": True, "loose": "whatever"},
    ],
)
def test_good_arguments(conf: dict) -> None:
    assert check(conf) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("size", "1", "expected int, found '1' (text: write 1)"),
        ("size", 1.5, "expected int, found 1.5"),
        ("size", True, "expected int, found True"),
        ("size", None, "expected int, found None"),
        ("rate", "1e-3", "expected float, found '1e-3' (text: write 0.001)"),
        ("rate", "fast", "expected float, found 'fast' (text)"),
        ("rate", False, "expected float, found False"),
        ("name", 5, "expected str, found 5"),
        ("name", None, "expected str, found None"),
        ("flag", 1, "expected bool, found 1"),
        ("flag", "yes", "expected bool, found 'yes' (text)"),
        ("maybe", "4", "expected int | None, found '4' (text: write 4)"),
        ("maybe", True, "expected int | None, found True"),
        ("pair", [1], "expected tuple[int, float], found [1]"),
        ("pair", [1, "2"], "expected tuple[int, float], found [1, '2']"),
        ("many", ["a", 2], "expected list[str] | None, found ['a', 2]"),
        ("many", "a", "expected list[str] | None, found 'a' (text)"),
        ("kind", "c", "expected Literal['a', 'b'], found 'c' (text)"),
    ],
)
def test_wrong_types(name: str, value: object, said: str) -> None:
    assert check({"size": 1, name: value}) == [f"x_conf.{name}: {said}"]


def test_everything_wrong_is_said_at_once() -> None:
    problems = check({"sise": 1, "rate": "x", "flag": 3})
    assert len(problems) == 4
    assert problems[0] == "x_conf.sise: Target takes no such argument; did you mean 'size'?"
    assert problems[1] == "x_conf.size: missing, Target needs it"


def test_arguments_of_the_builder_can_be_neither_given_nor_missed() -> None:
    assert check({}, hidden={"size"}) == []
    (problem,) = check({"size": 1}, hidden={"size"})
    assert "takes no such argument" in problem


@pytest.mark.parametrize("conf", [[1], "a", 5])
def test_conf_must_be_a_mapping(conf: object) -> None:
    assert check(conf) == [f"x_conf: expected a mapping, found {conf!r}"]


def test_absent_conf_is_an_empty_one() -> None:
    assert check(None, hidden={"size"}) == []


def test_the_class_may_object_to_values() -> None:
    assert check({"size": -1}) == []
    assert check({"size": -1}, construct=True) == ["x_conf: size must be 0 or more, not -1"]
    assert len(check({"size": "x"}, construct=True)) == 1, "not built with arguments known as bad"


def test_an_inherited_constructor_is_checked_too() -> None:
    class Child(Target):
        note: str = "an annotation of the class is no argument"

    (problem,) = check_arguments("c", {"size": "1"}, Child, set())
    assert "expected int" in problem


def test_dataclasses() -> None:
    @dataclass
    class Options:
        weight: float
        tap: str = "encoder"

    assert check_arguments("o", {"weight": 1}, Options, set()) == []
    assert check_arguments("o", {"weight": "1"}, Options, set()) == [
        "o.weight: expected float, found '1' (text: write 1)"
    ]


def test_classes_without_arguments() -> None:
    class Bare:
        pass

    assert check_arguments("b", {}, Bare, set()) == []
    assert check_arguments("b", {"x": 1}, Bare, set()) == ["b.x: Bare takes no such argument"]


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
