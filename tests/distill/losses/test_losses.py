"""Laws that every loss keeps, and each one's formula written out independently."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from distill_asr.distill.losses import L1, LOSSES, MSE, Cosine, L1Cosine

VARIANTS: dict[str, list[dict]] = {
    "l1": [{}, {"reduce_dim": "sum"}],
    "mse": [{}, {"reduce_dim": "sum"}],
    "cosine": [{}],
    "l1_cosine": [{}, {"cosine_weight": 0.3}],
}
EVERY = [
    pytest.param(LOSSES[name], conf, id=f"{name}-{conf}")
    for name, confs in VARIANTS.items()
    for conf in confs
]
every = pytest.mark.parametrize(("kind", "conf"), EVERY)


def states(count: int = 7, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, width, generator=generator, dtype=torch.float64),
        torch.randn(count, width, generator=generator, dtype=torch.float64),
    )


COMPARING = {"contrastive"}  # a pair with others: laws of its own, in a file of its own
OF_CODES = {"codebook"}  # likewise
OF_POSTERIORS = {"kl"}  # likewise


def test_every_registered_loss_is_held_to_the_laws() -> None:
    assert set(VARIANTS) == set(LOSSES) - COMPARING - OF_CODES - OF_POSTERIORS


@every
def test_one_number_a_pair(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states()
    losses = kind(**conf)(student, teacher)
    assert losses.shape == (7,)
    assert losses.dtype == torch.float64
    assert bool((losses > 0).all())


@every
def test_no_pairs_give_no_numbers(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states(count=0)
    assert kind(**conf)(student, teacher).shape == (0,)


@every
def test_pairs_do_not_know_each_other(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states()
    loss = kind(**conf)
    together = loss(student, teacher)
    alone = torch.cat([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone)


@every
def test_the_teacher_itself_is_the_best_student(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states()
    loss = kind(**conf)
    best = loss(teacher, teacher)
    weight = conf.get("cosine_weight", 1.0)
    floor = weight * math.log(1 + math.exp(-1)) if kind is L1Cosine else 0.0
    torch.testing.assert_close(best, torch.full((7,), floor, dtype=torch.float64))
    assert bool((best < loss(student, teacher)).all())


@every
def test_gradients(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states()
    assert torch.autograd.gradcheck(
        lambda value: kind(**conf)(value, teacher), student.requires_grad_()
    )


@every
def test_going_down_the_gradient_lowers_the_loss(kind: type[nn.Module], conf: dict) -> None:
    student, teacher = states()
    loss = kind(**conf)
    start = loss(student, teacher).mean().item()
    student = student.clone().requires_grad_()
    optimiser = torch.optim.SGD([student], lr=0.05)
    for _ in range(20):
        optimiser.zero_grad()
        loss(student, teacher).sum().backward()
        optimiser.step()
    assert loss(student, teacher).mean().item() < start


@every
def test_large_and_zero_states_stay_finite(kind: type[nn.Module], conf: dict) -> None:
    student = torch.tensor([[0.0] * 4, [1e4] * 4]).requires_grad_()
    loss = kind(**conf)(student, torch.tensor([[0.0] * 4, [-1e4] * 4]))
    loss.sum().backward()
    assert bool(torch.isfinite(loss).all())
    assert bool(torch.isfinite(student.grad).all())


def plain_l1(s: list[float], t: list[float]) -> float:
    return sum(abs(a - b) for a, b in zip(s, t, strict=True)) / len(s)


def plain_mse(s: list[float], t: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s)


def plain_cosine(s: list[float], t: list[float]) -> float:
    product = sum(a * b for a, b in zip(s, t, strict=True))
    return product / math.sqrt(sum(a * a for a in s) * sum(b * b for b in t))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


FORMULAS: list[tuple[nn.Module, Callable[[list[float], list[float]], float]]] = [
    (L1(), plain_l1),
    (L1("sum"), lambda s, t: 5 * plain_l1(s, t)),
    (MSE(), plain_mse),
    (MSE("sum"), lambda s, t: 5 * plain_mse(s, t)),
    (Cosine(), lambda s, t: 1 - plain_cosine(s, t)),
    (L1Cosine(), lambda s, t: plain_l1(s, t) - math.log(sigmoid(plain_cosine(s, t)))),
    (L1Cosine(2.5), lambda s, t: plain_l1(s, t) - 2.5 * math.log(sigmoid(plain_cosine(s, t)))),
    (L1Cosine(0.0), plain_l1),
]


@pytest.mark.parametrize(("loss", "formula"), FORMULAS)
def test_formula(loss: nn.Module, formula: Callable[[list[float], list[float]], float]) -> None:
    student, teacher = states()
    expected = [formula(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    torch.testing.assert_close(loss(student, teacher), torch.tensor(expected, dtype=torch.float64))


def test_cosine_does_not_see_the_norm() -> None:
    student, teacher = states()
    torch.testing.assert_close(Cosine()(3 * student, teacher / 2), Cosine()(student, teacher))
    torch.testing.assert_close(Cosine()(-teacher, teacher), torch.full((7,), 2.0).double())


@pytest.mark.parametrize("kind", [L1, MSE])
def test_unknown_reduction_is_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="'max'"):
        kind(reduce_dim="max")
