"""A distiller: tap + matcher + head + loss + weight. It knows nothing about who is who."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill_asr.states import Context, Pairs, States

REDUCTIONS = ("pair", "utterance")


@dataclass(frozen=True)
class DistillerOptions:
    """One block of ``distill:`` in a training YAML."""

    teacher: str  # which targets: dump/<set>/targets/<teacher>
    tap: str  # which student representation: encoder, encoder:6, ...
    loss: str  # name in distill_asr.losses, or a dotted path to a class
    match: str = "frame"  # name in distill_asr.matching, or a dotted path
    head: str = "linear"  # linear | mlp | identity, or a dotted path
    weight: float = 1.0  # factor in the training loss
    reduce: str = "utterance"  # pair | utterance: what counts once
    standardise: bool = True  # bring the targets to mean 0, deviation 1 per dimension
    loss_conf: dict | None = None
    match_conf: dict | None = None
    head_conf: dict | None = None


@dataclass(frozen=True)
class TeacherFacts:
    """What a target manifest says about its teacher, as far as a distiller needs it."""

    width: int  # E
    step_ms: float | None  # None for token-level teachers
    mean: Tensor | None = None  # [E]
    std: Tensor | None = None  # [E]


class Distiller(nn.Module):
    """One distillation term.

    Parameters
    ----------
    options : the config block.
    matcher : ``matcher(student, teacher, context) -> Pairs``.
    head : brings D to the paired teacher width.
    loss : ``loss(student [N, E], teacher [N, E]) -> [N]``.
    facts : the teacher's width, rate and statistics.
    """

    def __init__(
        self,
        options: DistillerOptions,
        matcher: Callable[[States, States, Context], Pairs],
        head: nn.Module,
        loss: nn.Module,
        facts: TeacherFacts,
    ) -> None:
        super().__init__()
        if options.reduce not in REDUCTIONS:
            raise ValueError(f"reduce must be one of {REDUCTIONS}, not {options.reduce!r}")
        self.options = options
        self.matcher = matcher
        self.head = head
        self.loss = loss
        self.step_ms = facts.step_ms
        # they come from the manifests at every start, so checkpoints need not carry them
        standardise = options.standardise and facts.mean is not None
        self.register_buffer("mean", facts.mean if standardise else None, persistent=False)
        self.register_buffer("std", facts.std if standardise else None, persistent=False)

    def forward(
        self,
        student: States,
        targets: Tensor,
        target_lengths: Tensor,
        context: Context,
        chosen: Tensor | None = None,
    ) -> Tensor:
        """The term, unweighted, in float32 whatever the autocast.

        Parameters
        ----------
        student : the tap, values [B, T, D].
        targets : [B, S, E] as the teacher gave them.
        target_lengths : [B], 0 where an utterance has no target.
        chosen : [B] bool, utterances that count; all where not given.

        Returns
        -------
        A scalar. Zero, with a gradient path through the head, if nothing could be paired, so
        that no device of a distributed run waits for a gradient that never comes.
        """
        teacher = States(self._standardised(targets), target_lengths, self.step_ms)
        pairs = self.matcher(student, teacher, context)
        if chosen is not None:
            pairs = _select(pairs, chosen)
        with torch.autocast(device_type=targets.device.type, enabled=False):
            losses = self.loss(self.head(pairs.student.float()), pairs.teacher.float())
        return self._reduced(losses, pairs.utterance)

    def _standardised(self, targets: Tensor) -> Tensor:
        if self.mean is None:
            return targets
        return (targets.float() - self.mean) / self.std

    def _reduced(self, losses: Tensor, utterance: Tensor) -> Tensor:
        """[N] -> scalar: mean over pairs, or per utterance and then over utterances."""
        if losses.numel() == 0:
            zero = losses.sum()
            return zero + sum(p.sum() for p in self.head.parameters()) * 0.0
        if self.options.reduce == "pair":
            return losses.mean()
        _, index, counts = utterance.unique(return_inverse=True, return_counts=True)
        return (losses / counts[index]).sum() / counts.numel()


def _select(pairs: Pairs, chosen: Tensor) -> Pairs:
    kept = chosen[pairs.utterance]
    return Pairs(pairs.student[kept], pairs.teacher[kept], pairs.utterance[kept])
