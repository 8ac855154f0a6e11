"""How much a block counts as the training goes on; needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from distill_asr.errors import nearest

SHAPES = ("constant", "linear", "cosine")
SHARES = ("from", "until", "fade_from")
KEYS = ("value", "shape", *SHARES)


@dataclass(frozen=True)
class Schedule:
    """Factor of a distillation term, by the share of the training that is done.

    The term counts from ``begin`` on, with ``value``; from ``fade_from`` to ``until`` the factor
    falls to 0 and stays there. All three are shares of the training, 0 at its first step and 1
    at its end.
    """

    value: float = 1.0
    shape: str = "constant"  # of the fall; constant: none before `until`
    begin: float = 0.0
    until: float = 1.0
    fade_from: float = 0.0

    @classmethod
    def of(cls, weight: float | dict[str, Any]) -> Schedule:
        """From a valid ``weight`` of a block; ``weight_problems`` reports mistakes of a mapping."""
        if not isinstance(weight, dict):
            return cls(float(weight))
        begin = weight.get("from", 0.0)
        fades = weight.get("fade_from")
        shape = weight.get("shape", "constant" if fades is None else "linear")
        fades = begin if fades is None else fades
        return cls(weight["value"], shape, begin, weight.get("until", 1.0), fades)

    @property
    def moves(self) -> bool:
        """Whether the factor is not the same from the first step to the last."""
        return self.shape != "constant" or self.begin > 0 or self.until < 1

    def at(self, share: float) -> float:
        """The factor after ``share`` of the training, 0 to 1."""
        if share < self.begin or (share >= self.until and self.moves):
            return 0.0
        if self.shape == "constant" or share <= self.fade_from:
            return self.value
        left = (self.until - share) / (self.until - self.fade_from)
        if self.shape == "cosine":
            left = (1 - math.cos(math.pi * left)) / 2
        return self.value * left


def weight_problems(key: str, weight: object) -> list[str]:
    """Everything wrong with a block's ``weight`` that is a mapping.

    Parameters
    ----------
    key : where it stands in the file; begins each message.
    """
    if not isinstance(weight, dict):
        return []  # a number, or reported as none
    problems = [f"{key}.{name}: no such key{nearest(name, KEYS)}" for name in set(weight) - {*KEYS}]
    if "value" not in weight:
        problems.append(f"{key}.value: missing; the factor before it fades, such as 30.0")
    numbers = [name for name in ("value", *SHARES) if name in weight]
    wrong = [name for name in numbers if not _is_number(weight[name])]
    problems += [f"{key}.{name}: expected a number, found {weight[name]!r}" for name in wrong]
    shape = weight.get("shape", "linear")
    if shape not in SHAPES:
        problems.append(f"{key}.shape: {shape!r}{nearest(shape, SHAPES)}")
    if shape == "constant" and "fade_from" in weight:
        problems.append(
            f"{key}.shape: constant does not fade; leave fade_from out, or write shape: linear"
        )
    return sorted(problems) + ([] if wrong else _share_problems(key, weight))


def _share_problems(key: str, weight: dict[str, Any]) -> list[str]:
    problems = [
        f"{key}.{name}: {weight[name]}, expected a share of the training, 0 to 1"
        for name in SHARES
        if name in weight and not 0 <= weight[name] <= 1
    ]
    if problems:
        return problems
    begin, until = weight.get("from", 0.0), weight.get("until", 1.0)
    fades = weight.get("fade_from", begin)
    if not begin <= fades < until:
        problems.append(
            f"{key}: from {begin}, fade_from {fades}, until {until}: expected them in this order, "
            "the last above the others"
        )
    return problems


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
