"""Entropic optimal transport between two batches of sequences, masked and in the log domain.

A plan gives how much of each student position goes to each teacher position. Everything runs
batched on the device; masses of zero mark padding, which neither sends nor receives anything.

Legend: B batch, T student positions, S teacher positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NOTHING = -1e30  # logarithm of no mass; finite, so that differences of two stay defined
# iterations between two exponentials of the whole plan; those between are matrix products on
# potentials that the first iteration has fitted (absorption, Schmitzer 2019)
BLOCK = 25


def uniform_masses(lengths: Tensor, size: int) -> Tensor:
    """Equal masses that sum to 1 over the valid positions, float32 [B, size]; 0 beyond them.

    Parameters
    ----------
    lengths : [B], valid positions; 0 gives no mass.
    size : positions, padding included.
    """
    valid = torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)
    return valid.float() / lengths.clamp(min=1).unsqueeze(1)


def sinkhorn(
    cost: Tensor,
    source: Tensor,
    target: Tensor,
    epsilon: float,
    iterations: int,
    penalty: float | None = None,
    log_prior: Tensor | None = None,
) -> Tensor:
    """The plan that minimises ``<P, cost> + epsilon KL(P | prior)`` (Cuturi 2013).

    Parameters
    ----------
    cost : [B, T, S]; computed in float32.
    source, target : masses [B, T] and [B, S]; 0 for padding.
    epsilon : strength of the entropy, in units of the cost.
    iterations : each fits the rows, then the columns.
    penalty : None for marginals that hold; else the weight of their Kullback-Leibler divergence
        (unbalanced transport, Chizat et al. 2018).
    log_prior : [B, T, S] where plans near a prior are wanted; uniform where not given.

    Returns
    -------
    Plans, float32 [B, T, S], without a gradient. Balanced ones have exact columns, and rows that
    are as exact as the iterations make them.
    """
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        kernel = -cost.float() / epsilon
        if log_prior is not None:
            kernel = kernel + log_prior.float()
        padding = (source <= 0).unsqueeze(2) | (target <= 0).unsqueeze(1)
        kernel = kernel.masked_fill(padding, _NOTHING)
        damping = 1.0 if penalty is None else penalty / (penalty + epsilon)
        rows = _potential(source, torch.logsumexp(kernel, dim=2), damping)
        columns = _potential(target, torch.logsumexp(kernel + rows.unsqueeze(2), dim=1), damping)
        for done in range(1, iterations, BLOCK):
            plan = torch.exp(kernel + rows.unsqueeze(2) + columns.unsqueeze(1))
            base_rows, base_columns = rows, columns
            for _ in range(min(BLOCK, iterations - done)):
                sums = (plan @ torch.exp(columns - base_columns).unsqueeze(2)).squeeze(2)
                rows = _potential(source, sums.log() - base_rows, damping)
                sums = (torch.exp(rows - base_rows).unsqueeze(1) @ plan).squeeze(1)
                columns = _potential(target, sums.log() - base_columns, damping)
        plan = torch.exp(kernel + rows.unsqueeze(2) + columns.unsqueeze(1))
        return plan.masked_fill(padding, 0.0)


def _potential(masses: Tensor, reached: Tensor, damping: float) -> Tensor:
    """The step from the logarithm of the current mass to the wanted one; 0 for padding."""
    wanted = masses.float().clamp(min=1e-38).log()
    return torch.where(masses > 0, damping * (wanted - reached), 0.0)


def log_order_prior(source: Tensor, target: Tensor, sizes: tuple[int, int], width: float) -> Tensor:
    """Logarithm of a prior that keeps the order of time, [B, T, S].

    A normal density of the distance to the diagonal, ``|t / T - s / S|`` over
    ``sqrt(1 / T^2 + 1 / S^2)`` (Su and Hua 2017, as Lu et al. 2024 use it), positions taken at
    their middles.

    Parameters
    ----------
    source, target : lengths [B].
    sizes : T and S of the padded batch.
    width : standard deviation of that density.
    """
    ours = _places(source, sizes[0]).unsqueeze(2)
    theirs = _places(target, sizes[1]).unsqueeze(1)
    counts = source.clamp(min=1).float(), target.clamp(min=1).float()
    scale = (counts[0] ** -2 + counts[1] ** -2).sqrt()[:, None, None]
    return -(((ours - theirs) / scale) ** 2) / (2 * width**2)


def fused_gromov_wasserstein(
    cost: Tensor,
    student: Tensor,
    teacher: Tensor,
    masses: tuple[Tensor, Tensor],
    alpha: float,
    epsilon: float,
    iterations: int,
    rounds: int,
    log_prior: Tensor | None = None,
) -> Tensor:
    """The plan that matches both positions and the distances between positions.

    Minimises ``(1 - alpha) <P, cost> + alpha sum |student_ik - teacher_jl|^2 P_ij P_kl`` less the
    entropy, by projected gradients (Peyré et al. 2016, algorithm of entropic Gromov-Wasserstein;
    fused form of Vayer et al. 2019; used for speech and text by Lu et al. 2025).

    Parameters
    ----------
    cost : [B, T, S].
    student, teacher : distances within each side, [B, T, T] and [B, S, S].
    masses : [B, T] and [B, S]; 0 for padding.
    alpha : 0 for the cost alone, 1 for the distances alone.
    epsilon : strength of the entropy, in units of the cost.
    iterations : of Sinkhorn in each round.
    rounds : in each, the distances are linearised at the plan so far.
    log_prior : [B, T, S] where plans near a prior are wanted; uniform where not given.

    Returns
    -------
    Plans, float32 [B, T, S], without a gradient.
    """
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        source, target = masses
        cost, student, teacher = cost.float(), student.float(), teacher.float()
        plan = source.unsqueeze(2) * target.unsqueeze(1)
        constant = (student**2 @ source.unsqueeze(2)) + (
            target.unsqueeze(1) @ (teacher**2).transpose(1, 2)
        )
        for _ in range(rounds):
            distances = constant - 2 * student @ plan @ teacher.transpose(1, 2)
            linear = (1 - alpha) * cost + 2 * alpha * distances
            plan = sinkhorn(linear, source, target, epsilon, iterations, log_prior=log_prior)
        return plan


def _places(lengths: Tensor, size: int) -> Tensor:
    """Middle of each position on a time axis from 0 to 1, [B, size]."""
    steps = torch.arange(size, device=lengths.device) + 0.5
    return steps / lengths.clamp(min=1).unsqueeze(1)
