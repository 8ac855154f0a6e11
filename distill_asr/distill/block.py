"""One block of ``distill:``; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_asr.distill.schedule import Schedule

REDUCTIONS = ("pair", "utterance", "sum")
MISSING = ("error", "skip")
PICKS = ("all", "random")  # of `distill.pick`: every block, or one an utterance and step
AT = "@"  # between the name of a block and one of its taps, where it has several


@dataclass(frozen=True)
class DistillBlock:
    """One block of ``distill:`` in a training YAML, checked."""

    teacher: str  # which targets: dump/<set>/targets/<teacher>; or the file of an online teacher
    # which student representation: encoder, encoder:6, ...; a list in the YAML, see `by_tap`
    tap: str
    loss: str  # name in distill_asr.distill.losses, or a dotted path to a class
    match: str = "frame"  # name in distill_asr.distill.matching, or a dotted path
    # name in distill_asr.distill.heads, or a dotted path; None: the matcher's
    head: str | None = None
    weight: float | dict[str, Any] = 1.0  # factor in the training loss, or its schedule
    reduce: str = "utterance"  # pair | utterance | sum: mean over pairs; per utterance; its sum
    standardise: bool = True  # bring the targets to mean 0, deviation 1 per dimension
    missing: str = "error"  # error | skip: what to do with utterances that have no targets
    # of targets that keep several layers apart: these, averaged by the weights if there are any
    layers: list[int] | dict[int, float] | None = None
    learn_layers: bool = False  # their weights are trained, from those given on
    loss_conf: dict[str, Any] | None = None
    match_conf: dict[str, Any] | None = None
    head_conf: dict[str, Any] | None = None

    @property
    def schedule(self) -> Schedule:
        """How the factor changes in the course of the training."""
        return Schedule.of(self.weight)

    @property
    def mixes_layers(self) -> bool:
        """Whether it chooses among layers, or mixes them."""
        return self.layers is not None or self.learn_layers

    def layer_weights(self, held: Sequence[int]) -> dict[int, float]:
        """The layers it asks for, with their weights; all of those held where it names none."""
        if isinstance(self.layers, dict):
            return dict(self.layers)
        return dict.fromkeys(held if self.layers is None else self.layers, 1.0)

    def layer_problems(self) -> list[str]:
        """What is wrong with ``layers`` and ``learn_layers`` themselves."""
        given = {} if self.layers is None else self.layer_weights(())
        count = None if self.layers is None else len(self.layers)
        if count == 0 or any(type(layer) is not int or layer < 0 for layer in given):
            return [
                f"layers: {self.layers!r}; expected numbers of layers from 0 on, [6, 12], or their "
                "weights, {6: 1, 12: 2}"
            ]
        problems = []
        if len(given) != (count or 0):
            problems.append(f"layers: {self.layers!r}: a layer occurs twice; name each once")
        if not all(0 < weight < math.inf for weight in given.values()):
            problems.append(f"layers: {self.layers!r}: expected weights above 0")
        if self.learn_layers and count == 1:
            problems.append("learn_layers: one layer has no weight to learn; name several")
        return problems


def by_tap(section: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of ``distill:`` with one tap each.

    ``x`` with ``tap: [encoder:3, encoder]`` becomes ``x@encoder:3`` and ``x@encoder``, each with a
    head of its own and its part of the weight, so that the term is the mean over the taps.
    """
    found: dict[str, Any] = {}
    for name, block in section.items():
        taps = block.get("tap") if isinstance(block, dict) else None
        if not isinstance(taps, list) or not taps or len({str(tap) for tap in taps}) < len(taps):
            found[name] = block  # its check reports what is wrong with it
            continue
        weight = _part(block.get("weight", DistillBlock.weight), len(taps))
        found |= {f"{name}{AT}{tap}": {**block, "tap": tap, "weight": weight} for tap in taps}
    return found


def _part(weight: Any, count: int) -> Any:
    """One of several equal parts of a block's weight, which may have a schedule."""
    if isinstance(weight, dict) and "value" in weight:
        return {**weight, "value": _part(weight["value"], count)}
    return weight / count if type(weight) in (int, float) else weight


def written_name(name: str) -> str:
    """The name of a block in the YAML, without the tap that ``by_tap`` gave it."""
    return name.partition(AT)[0]
