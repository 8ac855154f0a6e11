"""Greedy matching: every position of the text takes its nearest unit of speech, and the reverse.

Legend: B batch, T student frames or runs, D student width, S teacher positions, E teacher width,
N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.distill.matching.sides import SideOptions, SoftMatcher, projected
from distill_asr.distill.states import Context, Pairs, States

DIRECTIONS = ("both", "recall", "precision")


class GreedyMatcher(SoftMatcher):
    """Pair as BERTScore does (Zhang et al. 2020), which Lee et al. 2023 carried over to CTC.

    Recall: each position of the teacher is paired with the unit of the largest cosine. Precision:
    each unit with the position of the largest. Cosines are of the unit as the block's head
    projects it, without a gradient. With ``loss: cosine`` and ``reduce: utterance`` the term is
    1 less the mean of both scores. Nothing keeps the pairs in order.

    Parameters
    ----------
    units : ``runs`` of the CTC path as in ``match: shrink``, or ``frames``.
    direction : ``both``, half each; or one alone.
    special_tokens : ``drop`` the teacher's first and last position, or ``keep`` them.
    blank, unk : ids of both tokens, for ``units: runs``.
    """

    def __init__(
        self,
        units: str = "runs",
        direction: str = "both",
        special_tokens: str = "drop",
        blank: int = 0,
        unk: int = 1,
    ) -> None:
        super().__init__(SideOptions("match: greedy", units, special_tokens, (blank, unk)))
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, not {direction!r}")
        self.direction = direction

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``; utterances without either give no pairs.

        Raises
        ------
        ValueError : no CTC output at the tap's rate, for ``units: runs``.
        """
        sides = self.sides.take(student, teacher, context)
        device = sides.values.device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            ours, theirs = projected(sides, context)
            near = ours @ theirs.transpose(1, 2)
        batch, unit, place, weight = nearest_pairs(
            near, sides.counts, sides.positions, self.direction
        )
        return Pairs(sides.values[batch, unit], sides.targets[batch, place], batch, weight=weight)


def nearest_pairs(
    near: Tensor, counts: Tensor, positions: Tensor, direction: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each position with its nearest unit, and each unit with its nearest position.

    Parameters
    ----------
    near : [B, T, S], cosines.
    counts, positions : [B], valid units and positions; pairs need both.
    direction : one of ``DIRECTIONS``.

    Returns
    -------
    Index into the batch, unit and position of each pair, and its weight, [N] each. The weights of
    an utterance add up to 1 in each direction.
    """
    device = near.device
    units = torch.arange(near.size(1), device=device) < counts.unsqueeze(1)
    units = units & (positions > 0).unsqueeze(1)
    places = torch.arange(near.size(2), device=device) < positions.unsqueeze(1)
    places = places & (counts > 0).unsqueeze(1)
    near = near.masked_fill(~(units.unsqueeze(2) & places.unsqueeze(1)), -torch.inf)
    found = []
    if direction != "precision" and near.numel():
        batch, place = torch.nonzero(places, as_tuple=True)
        found.append((batch, near.argmax(dim=1)[batch, place], place))
    if direction != "recall" and near.numel():
        batch, unit = torch.nonzero(units, as_tuple=True)
        found.append((batch, unit, near.argmax(dim=2)[batch, unit]))
    none = torch.zeros(0, dtype=torch.int64, device=device)
    batch, unit, place = (torch.cat(one) for one in zip((none, none, none), *found, strict=True))
    weights = [none.float(), *(_weights(one[0], units.size(0)) for one in found)]
    return batch, unit, place, torch.cat(weights)


def _weights(batch: Tensor, size: int) -> Tensor:
    """One over the pairs of the same utterance and direction, so that directions count alike."""
    return 1.0 / torch.bincount(batch, minlength=size)[batch]
