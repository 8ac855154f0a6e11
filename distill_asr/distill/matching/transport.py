"""Transport matching: how much of each student frame goes to each position of the text.

Legend: B batch, T student frames or runs, D student width, S teacher positions, E teacher width,
N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.distill.matching.optimal_transport import (
    fused_gromov_wasserstein,
    log_order_prior,
    sinkhorn,
    uniform_masses,
)
from distill_asr.distill.matching.sides import SideOptions, Sides, SoftMatcher, projected
from distill_asr.distill.states import Context, Pairs, States


class TransportMatcher(SoftMatcher):
    """Pair student states with what entropic optimal transport moves them to.

    The cost of moving a state to a position is 1 minus the cosine of the position and the state
    as the block's head projects it. The plan P of the batch is computed without a gradient; each
    state is then paired with the barycentre ``sum_s P_ts y_s / sum_s P_ts`` of the positions, and
    weighted by the mass ``sum_s P_ts`` that it sends, 1 on average. With ``order`` plans near the
    diagonal of time are preferred (Lu et al. 2024, temporal order preserved transport); with
    ``graph`` the distances between states are to match those between positions as well (fused
    Gromov-Wasserstein, Lu et al. 2025); with ``penalty`` a state may send less than its share,
    as silence should (unbalanced).

    Parameters
    ----------
    units : ``frames``, or ``runs`` of the CTC path as in ``match: shrink``.
    epsilon : strength of the entropy, in units of the cost (0 to 2).
    iterations : of Sinkhorn.
    penalty : weight of the divergence of the marginals; None for exact marginals.
    order : standard deviation of the prior on the distance to the diagonal; None for no prior.
    graph : weight of the distances within each side, 0 to 1.
    rounds : linearisations of the distances; only with ``graph``.
    special_tokens : ``drop`` the teacher's first and last position, or ``keep`` them.
    blank, unk : ids of both tokens, for ``units: runs``.
    """

    def __init__(
        self,
        units: str = "frames",
        epsilon: float = 0.1,
        iterations: int = 20,
        penalty: float | None = None,
        order: float | None = None,
        graph: float = 0.0,
        rounds: int = 5,
        special_tokens: str = "drop",
        blank: int = 0,
        unk: int = 1,
    ) -> None:
        super().__init__(SideOptions("match: transport", units, special_tokens, (blank, unk)))
        positive: dict[str, float | None] = {
            "epsilon": epsilon,
            "iterations": iterations,
            "rounds": rounds,
        }
        positive |= {"penalty": penalty, "order": order}
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value}")
        if not 0 <= graph <= 1:
            raise ValueError(f"graph must be from 0 to 1, not {graph}")
        if graph and penalty is not None:
            raise ValueError("graph and penalty cannot be combined; leave one of them out")
        self.epsilon = epsilon
        self.iterations = iterations
        self.penalty = penalty
        self.order = order
        self.graph = graph
        self.rounds = rounds

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``; utterances without either give no pairs.

        Raises
        ------
        ValueError : no CTC output at the tap's rate, for ``units: runs``.
        """
        sides = self.sides.take(student, teacher, context)
        plan = self.plan(sides, context)
        mass = plan.sum(dim=2)
        batch, unit = torch.nonzero(mass > 0, as_tuple=True)
        sent = mass[batch, unit]
        centres = (plan @ sides.targets)[batch, unit] / sent.unsqueeze(1)
        weight = sent * sides.counts[batch]
        return Pairs(sides.values[batch, unit], centres, batch, weight=weight)

    def plan(self, sides: Sides, context: Context) -> Tensor:
        """How much of each state goes to each position, float32 [B, T, S], without a gradient.

        Parameters
        ----------
        sides : of the batch.
        context : holds the block's head.
        """
        counts, positions = sides.counts, sides.positions
        with torch.no_grad(), torch.autocast(sides.values.device.type, enabled=False):
            ours, theirs = projected(sides, context)
            sizes = ours.size(1), theirs.size(1)
            masses = uniform_masses(counts, sizes[0]), uniform_masses(positions, sizes[1])
            cost = 1 - ours @ theirs.transpose(1, 2)
            prior = None
            if self.order is not None:
                prior = log_order_prior(counts, positions, sizes, self.order)
            if not self.graph:
                return sinkhorn(cost, *masses, self.epsilon, self.iterations, self.penalty, prior)
            within = 1 - ours @ ours.transpose(1, 2), 1 - theirs @ theirs.transpose(1, 2)
            return fused_gromov_wasserstein(
                cost, *within, masses, self.graph, self.epsilon, self.iterations, self.rounds,
                prior,
            )  # fmt: skip
