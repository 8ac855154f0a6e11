"""A distiller: tap + matcher + head + loss + weight, for any student and teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from distill_asr.distill.block import REDUCTIONS, DistillBlock, written_name
from distill_asr.distill.codes import CodeReader
from distill_asr.distill.contracts import CODES, VECTORS, Head, Loss, Matcher
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.layers import LayerMixture
from distill_asr.distill.promises import NotAsked, blamed, check_losses, check_pairs, check_values
from distill_asr.distill.states import Context, Pairs, States

_LOG = logging.getLogger(__name__)
PATIENCE = 20  # batches without one pair, before a warning


class Distiller(nn.Module):
    """One distillation term.

    Parameters
    ----------
    options : the config block.
    matcher : ``matcher(student, teacher, context) -> Pairs``.
    head : brings D to the paired teacher width.
    loss : ``loss(student [N, E], teacher [N, E]) -> [N]``.
    facts : the teacher's width, rate, statistics and codebooks.
    mixture : of several layers in the teacher's width; None to take them as they are.
    name : of the block, for messages.
    paired_width : E of the matcher's pairs; None before it was computed.
    """

    def __init__(
        self,
        options: DistillBlock,
        matcher: Matcher,
        head: Head,
        loss: Loss,
        facts: TeacherFacts,
        mixture: LayerMixture | None = None,
        name: str = "",
        paired_width: int | None = None,
    ) -> None:
        super().__init__()
        if options.reduce not in REDUCTIONS:
            raise ValueError(f"reduce must be one of {REDUCTIONS}, not {options.reduce!r}")
        self.options = options
        self.schedule = options.schedule
        self.matcher = matcher
        self.head = head
        self.loss = loss
        self.mixture = mixture
        self.name = name
        self._paired_width = paired_width
        self._looked = False  # at the numbers of the first pairs
        self._unpaired = 0  # batches before them
        self.step_ms = facts.step_ms
        self.texts = facts.texts
        self.reads = loss.reads
        codebooks = facts.codebooks if self.reads == VECTORS else None
        self._decoder = None if codebooks is None else CodeReader(codebooks)
        # they come from the manifests at every start, so checkpoints need not carry them
        standardise = options.standardise and self.reads == VECTORS and facts.mean is not None
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
        """The term, unweighted, in float32 under any autocast.

        Parameters
        ----------
        student : the tap, values [B, T, D].
        targets : [B, S, E] as the teacher gave them, or codes int64 [B, S, C].
        target_lengths : [B], 0 where an utterance has no target.
        context : what else the batch offers to the matcher.
        chosen : [B] bool, utterances that count; all where not given.

        Returns
        -------
        A scalar. Zero, with a gradient path through the head, if nothing could be paired, so
        that no device of a distributed run waits for a gradient that never comes.

        Raises
        ------
        UserError : the matcher objects, or the matcher or the loss breaks its contract.
        RuntimeError : any other failure of theirs, or of the head's; names the block.
        """
        teacher = States(self._read(targets), target_lengths, self.step_ms)
        pairs = self._pairs(student, teacher, context)
        self.shares = dict(pairs.shares)
        if self.mixture is not None:
            self.shares |= self.mixture.shares()
        if chosen is not None:
            pairs = _select(pairs, chosen)
        with torch.autocast(device_type=targets.device.type, enabled=False):
            taught = pairs.teacher if self.reads == CODES else pairs.teacher.float()
            known = {"tokens": pairs.tokens} if self.loss.needs_tokens else {}
            where = self._part("loss", self.options.loss)
            with blamed(where):
                losses = self.loss(self.head(pairs.student.float()), taught, **known)
        return self._reduced(check_losses(where, losses, pairs.utterance.numel()), pairs)

    @property
    def moves(self) -> bool:
        """Whether its weight changes in the course of the training."""
        return self.schedule.moves

    def weight(self, share: float | None = None) -> float:
        """Factor in the training loss after ``share`` of the training; without one, the full."""
        return self.schedule.value if share is None else self.schedule.at(share)

    def _part(self, kind: str, written: str) -> str:
        return f"distill.{written_name(self.name)}: {kind} {written}"

    def _pairs(self, student: States, teacher: States, context: Context) -> Pairs:
        """The matcher's pairs, held against its contract; of the first ones the numbers too."""
        if not self.matcher.reads_text:
            context = replace(context, texts=NotAsked(), tokens=NotAsked())
        elif self.texts is not None:
            context = replace(context, texts=[self.texts.get(u, "") for u in context.utt_ids])
        where = self._part("match", self.options.match)
        context = replace(context, project=self.head, read=self._reader(context))
        with blamed(where, mistakes=(ValueError,)):
            given = self.matcher(student, teacher, context)
        pairs = check_pairs(where, given, student, self.matcher, self.loss, self._paired_width)
        if not self._looked:
            self._look(where, pairs, student, teacher)
        return pairs

    def _reader(self, context: Context) -> Callable[[list[list[int]]], States] | None:
        """What reads other sentences, with states as the targets are."""
        read = context.read
        if read is None:
            return None

        def as_targets(sentences: list[list[int]]) -> States:
            given = read(sentences)
            return replace(given, values=self._read(given.values))

        return as_targets

    def _look(self, where: str, pairs: Pairs, student: States, teacher: States) -> None:
        """At the numbers of the first pairs; a warning where none come."""
        if pairs.utterance.numel():
            check_values(where, pairs, student.lengths.numel())
            self._looked = True
        elif self.training and bool(teacher.lengths.any()):
            self._unpaired += 1
            if self._unpaired == PATIENCE:
                _LOG.warning(
                    f"{where}: no pair in {PATIENCE} batches with targets, so its term is 0"
                )

    def _read(self, targets: Tensor) -> Tensor:
        """What the loss reads: codes as they are, or vectors, standardised, layers mixed."""
        if self.reads == CODES:
            return targets
        vectors = targets if self._decoder is None else self._decoder(targets)
        vectors = vectors.float()
        if self.mean is not None:
            vectors = (vectors - self.mean) / self.std
        return vectors if self.mixture is None else self.mixture(vectors)

    def _reduced(self, losses: Tensor, pairs: Pairs) -> Tensor:
        """[N] -> scalar: mean over pairs, or mean or sum per utterance, then over utterances."""
        losses, utterance, weight = _best(losses, pairs)
        if losses.numel() == 0:
            zero = losses.sum()
            return zero + sum(p.sum() for p in self.parameters() if p.requires_grad) * 0.0
        if weight is not None:
            losses = losses * weight
        if self.options.reduce == "pair":
            return losses.mean() if weight is None else losses.sum() / _divisor(weight.sum())
        _, index, counts = utterance.unique(return_inverse=True, return_counts=True)
        if self.options.reduce == "utterance":
            if weight is not None:
                sums = weight.new_zeros(counts.numel()).index_add(0, index, weight)
                return (losses / _divisor(sums)[index]).sum() / counts.numel()
            losses = losses / counts[index]
        return losses.sum() / counts.numel()


def _divisor(weights: Tensor) -> Tensor:
    """Sums of weights to divide by; where nothing counts the losses are zero already."""
    return weights.masked_fill(weights == 0, 1.0)


def _best(losses: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor | None]:
    """Losses [M], utterances [M] and weights [M]; of alternatives the one of the smallest loss."""
    weight = None if pairs.weight is None else pairs.weight.float()
    if pairs.alternatives is None:
        return losses, pairs.utterance, weight
    groups, index = pairs.alternatives.unique(return_inverse=True)
    best = losses.new_zeros(groups.numel()).scatter_reduce(
        0, index, losses, "amin", include_self=False
    )
    utterance = pairs.utterance.new_zeros(groups.numel()).scatter(0, index, pairs.utterance)
    if weight is not None:  # of equal losses the largest weight, so that the order does not matter
        weight = weight.masked_fill(losses > best[index], 0.0)
        weight = weight.new_zeros(groups.numel()).scatter_reduce(0, index, weight, "amax")
    return best, utterance, weight


def _select(pairs: Pairs, chosen: Tensor) -> Pairs:
    kept = chosen[pairs.utterance]
    rows = {name: row for name, row in vars(pairs).items() if isinstance(row, Tensor)}
    return replace(pairs, **{name: row[kept] for name, row in rows.items()})
