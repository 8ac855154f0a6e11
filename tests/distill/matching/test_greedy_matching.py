"""Laws of the greedy matcher."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.build import build_distillers
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.matching.greedy import GreedyMatcher
from distill_asr.distill.states import Context, Pairs, States, TapShape

LENGTHS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6)), min_size=1, max_size=3)
DIRECTIONS = st.sampled_from(["both", "recall", "precision"])


def batch(lengths: list[tuple[int, int]], extra: int = 0, first: int = 0) -> tuple[States, States]:
    """States of width 4; ``first`` numbers the first utterance, which decides its content."""
    sides = []
    for side in range(2):
        counts = [pair[side] for pair in lengths]
        values = torch.full((len(lengths), max(counts) + extra, 4), 9.0 if extra else 0.0)
        for i, count in enumerate(counts):
            generator = torch.Generator().manual_seed(100 * (first + i) + side)
            values[i, :count] = torch.randn(count, 4, generator=generator)
        sides.append(States(values, torch.tensor(counts), 40.0 if side == 0 else None))
    return sides[0], sides[1]


def matched(lengths: list[tuple[int, int]], direction: str, **more: int) -> Pairs:
    matcher = GreedyMatcher(units="frames", direction=direction, special_tokens="keep")
    return matcher(*batch(lengths, **more), Context())


def same(one: Pairs, other: Pairs) -> None:
    for name in ("student", "teacher", "utterance", "weight"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


@settings(deadline=None, max_examples=40)
@given(LENGTHS, DIRECTIONS, st.integers(1, 3))
def test_padding_changes_nothing(lengths, direction: str, extra: int) -> None:
    same(matched(lengths, direction), matched(lengths, direction, extra=extra))


@settings(deadline=None, max_examples=30)
@given(LENGTHS, DIRECTIONS)
def test_the_same_alone_and_in_a_batch(lengths, direction: str) -> None:
    together = matched(lengths, direction)
    for i, pair in enumerate(lengths):
        alone, mine = matched([pair], direction, first=i), together.utterance == i
        rows = together.student[mine], together.teacher[mine], together.utterance[mine] * 0
        same(Pairs(*rows, weight=together.weight[mine]), alone)


@settings(deadline=None, max_examples=30)
@given(LENGTHS)
def test_both_directions_count_alike(lengths) -> None:
    pairs = matched(lengths, "both")
    spoken = torch.tensor([min(pair) > 0 for pair in lengths])
    sums = torch.zeros(len(lengths)).index_add(0, pairs.utterance, pairs.weight)
    torch.testing.assert_close(sums, 2.0 * spoken)


def bertscore(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Mean of precision and recall, pair by pair."""
    near = torch.cosine_similarity(ours.unsqueeze(1), theirs.unsqueeze(0), dim=-1)
    return (near.max(dim=0).values.mean() + near.max(dim=1).values.mean()) / 2


def test_the_term_is_one_less_the_score() -> None:
    block = DistillBlock(
        "bert", "encoder", "cosine", match="greedy", head="identity", standardise=False,
        match_conf={"units": "frames", "special_tokens": "keep"},
    )  # fmt: skip
    taps, facts = {"encoder": TapShape(4, 40.0)}, {"bert": TeacherFacts(4, None)}
    student, teacher = batch([(8, 6), (5, 3)])
    term = build_distillers({"x": block}, taps, facts)["x"]
    found = term(student, teacher.values, teacher.lengths, Context())
    scores = [
        bertscore(student.values[i, :t], teacher.values[i, :s])
        for i, (t, s) in enumerate([(8, 6), (5, 3)])
    ]
    torch.testing.assert_close(found, 1 - torch.stack(scores).mean())


def test_a_permutation_is_found() -> None:
    order = torch.tensor([2, 0, 3, 1])
    values = torch.randn(1, 4, 5)
    sides = (
        States(values[:, order], torch.tensor([4]), 40.0),
        States(values, torch.tensor([4]), None),
    )
    pairs = GreedyMatcher(units="frames", special_tokens="keep")(*sides, Context())
    torch.testing.assert_close(pairs.student, pairs.teacher)


def test_special_tokens_are_dropped_by_default() -> None:
    values = torch.randn(1, 4, 5)
    sides = States(values, torch.tensor([4]), 40.0), States(values, torch.tensor([4]), None)
    pairs = GreedyMatcher(units="frames", direction="recall")(*sides, Context())
    torch.testing.assert_close(pairs.teacher, values[0, 1:3])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_gradients_are_finite(dtype: torch.dtype) -> None:
    student, teacher = batch([(8, 6), (5, 4)])
    values = student.values.to(dtype).requires_grad_()
    pairs = GreedyMatcher(units="frames")(
        States(values, student.lengths, 40.0), teacher, Context(project=lambda x: 2 * x)
    )
    (pairs.student.float() * pairs.weight.unsqueeze(1)).square().sum().backward()
    assert bool(torch.isfinite(values.grad).all()) and bool(values.grad.abs().sum() > 0)


@pytest.mark.parametrize(
    "conf", [{"units": "letters"}, {"direction": "up"}, {"special_tokens": "some"}]
)
def test_arguments(conf: dict) -> None:
    with pytest.raises(ValueError, match=str(*conf)):
        GreedyMatcher(**conf)
