"""One block of ``distill:``; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill_asr.distill.schedule import Schedule

REDUCTIONS = ("pair", "utterance", "sum")
MISSING = ("error", "skip")
PICKS = ("all", "random")  # of `distill.pick`: every block, or one an utterance and step


@dataclass(frozen=True)
class DistillBlock:
    """One block of ``distill:`` in a training YAML, checked."""

    teacher: str  # which targets: dump/<set>/targets/<teacher>; or the file of an online teacher
    tap: str  # which student representation: encoder, encoder:6, ...
    loss: str  # name in distill_asr.distill.losses, or a dotted path to a class
    match: str = "frame"  # name in distill_asr.distill.matching, or a dotted path
    # name in distill_asr.distill.heads, or a dotted path; None: the matcher's
    head: str | None = None
    weight: float | dict[str, Any] = 1.0  # factor in the training loss, or its schedule
    reduce: str = "utterance"  # pair | utterance | sum: mean over pairs; per utterance; its sum
    standardise: bool = True  # bring the targets to mean 0, deviation 1 per dimension
    missing: str = "error"  # error | skip: what to do with utterances that have no targets
    loss_conf: dict[str, Any] | None = None
    match_conf: dict[str, Any] | None = None
    head_conf: dict[str, Any] | None = None

    @property
    def schedule(self) -> Schedule:
        """How the factor changes in the course of the training."""
        return Schedule.of(self.weight)
