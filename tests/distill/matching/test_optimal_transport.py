"""Laws of the transport plans, and POT's numbers for single utterances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.optimal_transport import (
    fused_gromov_wasserstein,
    log_order_prior,
    sinkhorn,
    uniform_masses,
)

LENGTHS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=4)


def problem(lengths: list[tuple[int, int]], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Cost, lengths and masses of a padded batch."""
    ours, theirs = (torch.tensor(side) for side in zip(*lengths, strict=True))
    sizes = max(1, int(ours.max())), max(1, int(theirs.max()))
    cost = torch.rand(len(lengths), *sizes, generator=torch.Generator().manual_seed(seed))
    return cost, ours, theirs, uniform_masses(ours, sizes[0]), uniform_masses(theirs, sizes[1])


@given(LENGTHS, st.integers(0, 99), st.floats(0.05, 2.0))
@settings(max_examples=60, deadline=None)
def test_marginals_hold_and_padding_gets_nothing(lengths, seed: int, epsilon: float) -> None:
    cost, ours, theirs, source, target = problem(lengths, seed)
    plan = sinkhorn(cost, source, target, epsilon, 300)
    assert torch.isfinite(plan).all() and (plan >= 0).all()
    both = ((ours > 0) & (theirs > 0)).unsqueeze(1)
    torch.testing.assert_close(plan.sum(1), target * both, atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.sum(2), source * both, atol=2e-3, rtol=0)
    assert not plan[:, source[0] == 0][0].any() and not plan[0][:, target[0] == 0].any()


@given(LENGTHS, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_same_alone_and_in_a_batch(lengths, seed: int) -> None:
    cost, ours, theirs, source, target = problem(lengths, seed)
    prior = log_order_prior(ours, theirs, tuple(cost.shape[1:]), 0.5)
    together = sinkhorn(cost, source, target, 0.1, 20, log_prior=prior)
    for i, (t, s) in enumerate(lengths):
        if t and s:
            alone = sinkhorn(
                cost[i : i + 1, :t, :s], source[i : i + 1, :t], target[i : i + 1, :s], 0.1, 20,
                log_prior=log_order_prior(ours[i : i + 1], theirs[i : i + 1], (t, s), 0.5),
            )  # fmt: skip
            torch.testing.assert_close(together[i, :t, :s], alone[0], atol=1e-6, rtol=1e-4)
        rest = together[i].clone()
        rest[:t, :s] = 0
        assert not rest.any()


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_a_permutation_is_found(order: list[int]) -> None:
    cost = 1.0 - torch.eye(6)[list(order)].unsqueeze(0)
    mass = torch.full((1, 6), 1 / 6)
    plan = sinkhorn(cost, mass, mass, 0.02, 50)
    torch.testing.assert_close(plan * 6, 1 - cost, atol=1e-4, rtol=0)


def test_equals_pot() -> None:
    ot = pytest.importorskip("ot")
    cost, _, _, source, target = problem([(7, 5)])
    arrays = source[0].double().numpy(), target[0].double().numpy(), cost[0].double().numpy()
    expected = ot.sinkhorn(*arrays, 0.1, numItermax=500, stopThr=1e-12)
    np.testing.assert_allclose(sinkhorn(cost, source, target, 0.1, 500)[0], expected, atol=1e-5)
    expected = ot.unbalanced.sinkhorn_unbalanced(
        *arrays, 0.1, 0.5, numItermax=500, stopThr=1e-12, reg_type="entropy"
    )
    found = sinkhorn(cost, source, target, 0.1, 500, penalty=0.5)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gromov_wasserstein_equals_pot() -> None:
    ot = pytest.importorskip("ot")
    cost, _, _, source, target = problem([(7, 5)])
    generator = torch.Generator().manual_seed(1)
    points = (torch.randn(1, n, 3, generator=generator) for n in (7, 5))
    ours, theirs = (torch.cdist(side, side) / 3 for side in points)
    arrays = [array[0].double().numpy() for array in (cost, ours, theirs, source, target)]
    expected = ot.gromov.entropic_fused_gromov_wasserstein(
        *arrays, "square_loss", epsilon=0.2, alpha=0.4, max_iter=30, tol=0, solver="PGD",
        numItermax=300,
    )  # fmt: skip
    found = fused_gromov_wasserstein(cost, ours, theirs, (source, target), 0.4, 0.2, 300, 30)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


@pytest.mark.parametrize("width", [0.1, 0.5, 2.0])  # the last one hardly narrows anything
def test_the_prior_falls_with_the_distance_to_the_diagonal(width: float) -> None:
    lengths = torch.tensor([8])
    prior = log_order_prior(lengths, lengths, (8, 8), width)[0]
    for row in range(8):
        assert (prior[row, : row + 1].diff() > 0).all() and (prior[row, row:].diff() < 0).all()
    mass = uniform_masses(lengths, 8)
    plan = sinkhorn(torch.zeros(1, 8, 8), mass, mass, 1.0, 100, log_prior=prior[None])[0]
    assert width > 1 or (plan.argmax(dim=1) == torch.arange(8)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_costs_give_finite_plans(dtype: torch.dtype) -> None:
    cost, _, _, source, target = problem([(9, 4), (3, 6)])
    plan = sinkhorn((cost * 100).to(dtype), source, target, 0.05, 50)
    assert plan.dtype == torch.float32 and torch.isfinite(plan).all()
    torch.testing.assert_close(plan.sum(1), target, atol=1e-4, rtol=0)
