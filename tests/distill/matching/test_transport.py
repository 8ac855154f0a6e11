"""Laws of the transport matcher."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.transport import TransportMatcher
from distill_asr.distill.states import Context, Pairs, States

LENGTHS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6)), min_size=1, max_size=3)
CONFS = [{}, {"order": 0.5}, {"penalty": 0.5}, {"graph": 0.3, "iterations": 30}]


def batch(
    lengths: list[tuple[int, int]], extra: int = 0, fill: float = 0.0, first: int = 0
) -> tuple[States, States]:
    """States of width 4; ``first`` numbers the first utterance, which decides its content."""
    sides = []
    for side in range(2):
        counts = [pair[side] for pair in lengths]
        values = torch.full((len(lengths), max(counts) + extra + 1, 4), fill)
        for i, count in enumerate(counts):
            generator = torch.Generator().manual_seed(100 * (first + i) + side)
            values[i, :count] = torch.randn(count, 4, generator=generator)
        sides.append(States(values, torch.tensor(counts), 40.0 if side == 0 else None))
    return sides[0], sides[1]


def close(one: Pairs, other: Pairs) -> None:
    assert torch.equal(one.student, other.student) and torch.equal(one.utterance, other.utterance)
    torch.testing.assert_close(one.teacher, other.teacher, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.weight, other.weight, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.sampled_from(CONFS), st.integers(0, 3))
def test_padding_changes_nothing(lengths, conf: dict, extra: int) -> None:
    matcher = TransportMatcher(**conf)
    pairs = matcher(*batch(lengths), Context())
    close(pairs, matcher(*batch(lengths, extra, 9.0), Context()))
    expected = [t if s > 2 else 0 for t, s in lengths]
    counts = torch.bincount(pairs.utterance, minlength=len(lengths))
    assert counts.tolist() == expected


@settings(deadline=None, max_examples=20)
@given(LENGTHS, st.sampled_from(CONFS))
def test_the_same_alone_and_in_a_batch(lengths, conf: dict) -> None:
    matcher = TransportMatcher(**conf)
    together = matcher(*batch(lengths), Context())
    for i, pair in enumerate(lengths):
        alone = matcher(*batch([pair], first=i), Context())
        mine = together.utterance == i
        rows = (together.student[mine], together.teacher[mine], together.utterance[mine] * 0)
        close(Pairs(*rows, weight=together.weight[mine]), alone)


def test_weights_are_one_where_marginals_hold() -> None:
    pairs = TransportMatcher(iterations=200)(*batch([(8, 6), (5, 4)]), Context())
    torch.testing.assert_close(pairs.weight, torch.ones(13), atol=1e-2, rtol=0)
    unbalanced = TransportMatcher(penalty=0.05)(*batch([(8, 6)]), Context())
    assert unbalanced.weight.std() > 0.05


def test_a_permutation_is_found() -> None:
    order = torch.tensor([2, 0, 3, 1])
    positions = torch.nn.functional.one_hot(torch.arange(6), 6).float()[None]
    student = States(positions[:, 1:5][:, order], torch.tensor([4]), 40.0)
    teacher = States(positions, torch.tensor([6]), None)
    pairs = TransportMatcher(epsilon=0.02)(student, teacher, Context())
    torch.testing.assert_close(pairs.teacher, pairs.student, atol=1e-4, rtol=0)


def test_the_cost_is_that_of_projected_states() -> None:
    student, teacher = batch([(6, 6)])
    reversing = torch.flip(torch.eye(4), (0,))
    given = TransportMatcher()(student, teacher, Context(project=lambda x: x @ reversing))
    turned = States(student.values @ reversing, student.lengths, 40.0)
    expected = TransportMatcher()(turned, teacher, Context())
    torch.testing.assert_close(given.teacher, expected.teacher)
    assert torch.equal(given.student, student.values[0, :6])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_are_finite_in_half_precision(dtype: torch.dtype) -> None:
    student, teacher = batch([(8, 6)])
    values = (student.values * 50).to(dtype).requires_grad_()
    pairs = TransportMatcher(order=0.5)(
        States(values, student.lengths, 40.0),
        States(teacher.values.to(dtype), teacher.lengths, None),
        Context(),
    )
    (pairs.weight * (pairs.student.float() - pairs.teacher).square().mean(1)).sum().backward()
    assert torch.isfinite(values.grad).all() and values.grad.any()


@pytest.mark.parametrize(
    "conf",
    [{"epsilon": 0}, {"units": "x"}, {"special_tokens": "x"}, {"graph": 2}, {"penalty": -1}],
)
def test_bad_arguments(conf: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(conf))):
        TransportMatcher(**conf)
