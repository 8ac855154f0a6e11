"""The contrastive loss against its formula, and its laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.distill.losses import LOSSES
from distill_asr.distill.losses.contrastive import Contrastive, draw_negatives


def states(count: int, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, width)
    return (
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.randn(shape, generator=generator, dtype=torch.float64),
    )


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def by_hand(student: Tensor, teacher: Tensor, temperature: float, kept: list[list[int]]) -> Tensor:
    """The published formula, pair by pair; ``kept`` are the negatives that count."""
    mine, theirs, losses = student.tolist(), teacher.tolist(), []
    for i, negatives in enumerate(kept):
        own = math.exp(cosine(mine[i], theirs[i]) / temperature)
        others = [math.exp(cosine(mine[i], theirs[j]) / temperature) for j in negatives]
        losses.append(-math.log(own / (own + sum(others))))
    return torch.tensor(losses, dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_formula(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    drawn = data.draw(st.integers(0, count))
    one_row = st.permutations(range(count)).map(lambda order: order[:drawn])
    rows = data.draw(st.lists(one_row, min_size=count, max_size=count))
    tokens = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    own, same = data.draw(st.booleans()), data.draw(st.booleans())
    kept = [
        [
            j
            for j in row
            if (j == i and not own) or (j != i and not (same and tokens[j] == tokens[i]))
        ]
        for i, row in enumerate(rows)
    ]
    student, teacher = states(count)
    loss = Contrastive(0.5, mask_positive=own, mask_same_token=same)
    found = loss(
        student,
        teacher,
        tokens=torch.tensor(tokens),
        negative_ids=torch.tensor(rows, dtype=torch.int64).reshape(count, drawn),
    )
    torch.testing.assert_close(found, by_hand(student, teacher, 0.5, kept))


@pytest.mark.parametrize(
    ("pairs", "wanted", "count"), [(11, 4, 4), (11, 10, 10), (11, 11, 8), (11, 700, 8), (1, 5, 0)]
)
def test_negatives_are_drawn_without_replacement(pairs: int, wanted: int, count: int) -> None:
    ids = draw_negatives(pairs, wanted, torch.device("cpu"))
    assert ids.shape == (pairs, count)
    assert all(len(set(row)) == count for row in ids.tolist())
    assert not count or (0 <= int(ids.min()) and int(ids.max()) < pairs)


def test_every_pair_is_drawn_as_often_as_any_other() -> None:
    torch.manual_seed(0)
    ids = torch.stack([draw_negatives(6, 3, torch.device("cpu")) for _ in range(2000)])
    for row in ids.unbind(dim=1):  # each of 6 in half of the draws, deviation 1.1 %; itself too
        share = torch.bincount(row.flatten(), minlength=6) / 2000
        torch.testing.assert_close(share, torch.full((6,), 0.5), atol=0.05, rtol=0)


def test_drawn_negatives_are_reproducible_and_new_each_time() -> None:
    loss, pairs = Contrastive(negatives=3), states(20)
    torch.manual_seed(0)
    first, second = loss(*pairs), loss(*pairs)
    torch.manual_seed(0)
    assert torch.equal(loss(*pairs), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_give_zero_and_a_gradient_path(count: int) -> None:
    student, teacher = states(count)
    student.requires_grad_()
    losses = Contrastive()(student, teacher)
    assert losses.tolist() == [0.0] * count
    losses.sum().backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_the_only_negative_is_the_positive() -> None:
    student, teacher = states(2)
    student.requires_grad_()
    ids = torch.tensor([[0], [1]])
    losses = Contrastive()(student, teacher, negative_ids=ids)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 0.0]
    assert not student.grad.any()
    twice = Contrastive(mask_positive=False)(student, teacher, negative_ids=ids)
    torch.testing.assert_close(twice, torch.full((2,), math.log(2)).double())


def test_gradients_and_none_for_pairs_that_do_not_count() -> None:
    student, teacher = states(5)
    ids = torch.tensor([[1, 0], [2, 3], [0, 1], [3, 4], [2, 0]])
    loss = Contrastive(0.5)
    assert torch.autograd.gradcheck(
        lambda s, t: loss(s, t, negative_ids=ids),
        (student.requires_grad_(), teacher.requires_grad_()),
    )
    loss(student, teacher, negative_ids=ids)[0].backward()
    assert student.grad[0].any() and not student.grad[1:].any()
    assert not teacher.grad[2:].any()


def test_the_norms_do_not_matter() -> None:
    (student, teacher), ids = states(6), torch.arange(6).expand(6, -1)
    loss, factors = Contrastive(), torch.linspace(0.1, 9, 6).unsqueeze(1)
    torch.testing.assert_close(
        loss(student * factors, teacher / factors, negative_ids=ids),
        loss(student, teacher, negative_ids=ids),
    )


def test_the_order_of_pairs_does_not_matter() -> None:
    (student, teacher), everybody = states(6), torch.arange(6).expand(6, -1)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    loss = Contrastive()
    plain = loss(student, teacher, negative_ids=everybody)
    torch.testing.assert_close(
        loss(student[order], teacher[order], negative_ids=everybody), plain[order]
    )


def test_going_down_the_gradient_tells_the_pairs_apart() -> None:
    student, teacher = states(8, width=16)
    student.requires_grad_()
    loss, optimiser = Contrastive(0.1), torch.optim.SGD([student], lr=1.0)
    torch.manual_seed(0)
    for _ in range(50):
        optimiser.zero_grad()
        loss(student, teacher).sum().backward()
        optimiser.step()
    everybody = torch.arange(8).expand(8, -1)
    assert loss(student, teacher, negative_ids=everybody).max().item() < 0.1


def test_large_and_zero_states_stay_finite() -> None:
    student = torch.tensor([[0.0] * 4, [1e4] * 4, [1e-20] * 4]).requires_grad_()
    teacher = torch.tensor([[0.0] * 4, [-1e4] * 4, [1.0] * 4])
    losses = Contrastive()(student, teacher, negative_ids=torch.tensor([[1, 2], [0, 2], [0, 1]]))
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert bool(torch.isfinite(student.grad).all())


def test_float32_under_autocast() -> None:
    student, teacher = (side.float() for side in states(9, width=64))
    ids, loss = torch.arange(9).expand(9, -1), Contrastive()
    expected = loss(student, teacher, negative_ids=ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(student, teacher, negative_ids=ids), expected)
        halves = loss(student.bfloat16(), teacher.bfloat16(), negative_ids=ids)
    assert halves.dtype == torch.float32


def test_tokens_must_be_known_to_be_compared() -> None:
    with pytest.raises(ValueError, match="mask_same_token"):
        Contrastive(mask_same_token=True)(*states(3))
    assert Contrastive(mask_same_token=True).needs_tokens
    assert not LOSSES["contrastive"]().needs_tokens


@pytest.mark.parametrize(
    ("arguments", "named"), [({"temperature": 0.0}, "temperature"), ({"negatives": 0}, "negatives")]
)
def test_bad_arguments(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Contrastive(**arguments)
