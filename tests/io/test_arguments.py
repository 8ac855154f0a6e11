"""Values against constructors and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from distill_asr.io.arguments import check_arguments


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


def test_keywords_of_a_class_take_any_name_where_asked() -> None:
    class Open:
        def __init__(self, size: int, **more: object) -> None:
            pass

    assert check_arguments("o", {"size": 1, "else": 2}, Open, keywords=True) == []
    assert len(check_arguments("o", {"else": 2}, Open, keywords=True)) == 1
    assert len(check_arguments("o", {"size": 1, "else": 2}, Open)) == 1
