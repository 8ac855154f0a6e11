"""What taps, teachers, matchers and losses hand to each other.

Legend: B batch, T student frames, S teacher positions, D student width, E teacher width,
N matched pairs of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

PATH_COLUMNS = 3  # t, u, symbol: what stands before the posteriors in a row of a lattice path


@dataclass(frozen=True)
class States:
    """A batch of sequences, a student's or a teacher's."""

    values: Tensor  # [B, T, D]
    lengths: Tensor  # [B], int64; 0 for an utterance without states
    step_ms: float | None  # duration of one step; None on token level


@dataclass(frozen=True)
class TapShape:
    """What a tap gives: width D and the duration of one step (None on token level)."""

    width: int
    step_ms: float | None


@dataclass(frozen=True)
class Pairs:
    """Matched positions of the whole batch, padding gone.

    ``weight`` is the factor of a pair: its loss is multiplied by it before the reduction.
    Means are over weights, so that equal weights change nothing: ``reduce: pair`` gives
    ``sum(w * loss) / sum(w)``, ``utterance`` the same within each utterance, ``sum`` divides by
    nothing. Pairs of weight 0 are ignored, also by a mean.
    """

    student: Tensor  # [N, D]
    teacher: Tensor  # [N, E]
    utterance: Tensor  # [N], index into the batch
    tokens: Tensor | None = None  # [N], the student's token; from matchers that use tokens
    # [N], or None: of the pairs with one number only that of the smallest loss counts
    alternatives: Tensor | None = None
    weight: Tensor | None = None  # [N], 0 or more; None: each counts as 1
    shares: Mapping[str, float] = field(default_factory=dict)  # of the batch, for the log


@dataclass(frozen=True)
class LatticeLogits:
    """A transducer's logits, computed at chosen nodes only."""

    logits: Callable[[Tensor, Tensor, Tensor], Tensor]  # utterance, t, u, [N] each -> [N, V]
    tokens: Tensor  # [B], U of each utterance: u goes from 0 to U


@dataclass(frozen=True)
class Context:
    """What else the batch offers to a matcher."""

    utt_ids: list[str] = field(default_factory=list)  # names for error messages; may be empty
    taps: dict[str, States] = field(default_factory=dict)  # every tap recorded in this call
    texts: list[str] = field(default_factory=list)  # what a text teacher read; may be empty
    tokens: list[list[str]] = field(default_factory=list)  # the student's, without an end token
    token_ids: Tensor | None = None  # [B, U], the same with an end token after each, then anything
    token_lengths: Tensor | None = None  # [B], of `token_ids`, the end token counted
    lattice: LatticeLogits | None = None  # of a transducer, where the tap is asked for
    project: Callable[[Tensor], Tensor] | None = None  # the block's head, [..., D] -> [..., E]
    # token ids of M sentences -> [M, S, E], by the block's text teacher; length 0: not readable
    read: Callable[[list[list[int]]], States] | None = None

    def name(self, index: int) -> str:
        """Utterance id of batch entry ``index``, or its number if ids are missing."""
        return self.utt_ids[index] if index < len(self.utt_ids) else f"number {index} of the batch"
