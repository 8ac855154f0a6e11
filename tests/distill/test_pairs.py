"""Pairs that are alternatives of each other, and pairs that count more or less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.contracts import Matcher
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.losses import L1
from distill_asr.distill.states import Context, Pairs, States

OPTIONS = DistillBlock(teacher="t", tap="encoder", loss="l1", head="identity")
FACTS = TeacherFacts(width=1, step_ms=40.0)
# the matcher below looks at none of them
SAID, SAID_LENGTHS = torch.zeros(2, 3, 1), torch.tensor([3, 1])
HEARD = States(torch.zeros(2, 3, 1), SAID_LENGTHS, 40.0)


class Offered(Matcher):
    """A matcher that gives the pairs it was given."""

    def __init__(self, *rows: Tensor, weight: Tensor | None = None) -> None:
        super().__init__()
        self.pairs = Pairs(
            *rows[:3], alternatives=rows[3] if len(rows) > 3 else None, weight=weight
        )

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        return self.pairs


def of_pairs(losses: list[float], utterance: list[int], groups: list[int], reduce: str) -> Tensor:
    """The term for pairs of these losses, of which those of one group are alternatives."""
    values = torch.tensor(losses, requires_grad=True)
    rows = (values.unsqueeze(1), torch.zeros(len(losses), 1))
    matcher = Offered(*rows, torch.tensor(utterance), torch.tensor(groups))
    made = Distiller(replace(OPTIONS, reduce=reduce), matcher, nn.Identity(), L1(), FACTS)
    term = made(HEARD, SAID, SAID_LENGTHS, Context())
    term.backward()
    return torch.stack([term.detach(), *values.grad])


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [("pair", (1 + 2 + 4) / 3), ("utterance", ((1 + 2) / 2 + 4) / 2), ("sum", (1 + 2 + 4) / 2)],
)
def test_of_alternatives_the_smallest_loss_counts(reduce: str, expected: float) -> None:
    term, *gradient = of_pairs([3.0, 1.0, 2.0, 6.0, 4.0], [0, 0, 0, 1, 1], [7, 7, 8, 9, 9], reduce)
    assert term.item() == pytest.approx(expected)
    assert [bool(g) for g in gradient] == [False, True, True, False, True]


def test_alternatives_of_utterances_not_chosen_count_nowhere() -> None:
    rows = torch.tensor([[3.0], [1.0], [6.0]]), torch.zeros(3, 1)
    matcher = Offered(*rows, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]))
    made = Distiller(OPTIONS, matcher, nn.Identity(), L1(), FACTS)
    chosen = torch.tensor([True, False])
    assert made(HEARD, SAID, SAID_LENGTHS, Context(), chosen).item() == pytest.approx(1.0)


# -- weights of pairs ----------------------------------------------------------------


def weighted(weight: list[float] | None, reduce: str, groups: list[int] | None = None) -> float:
    """The term for losses 1, 2, 3 of one utterance and 10 of another."""
    losses = torch.tensor([[1.0], [2.0], [3.0], [10.0]], requires_grad=True)
    rows = [losses, torch.zeros(4, 1), torch.tensor([0, 0, 0, 1])]
    rows += [] if groups is None else [torch.tensor(groups)]
    matcher = Offered(*rows, weight=None if weight is None else torch.tensor(weight))
    made = Distiller(replace(OPTIONS, reduce=reduce), matcher, nn.Identity(), L1(), FACTS)
    term = made(HEARD, SAID, SAID_LENGTHS, Context())
    term.backward()
    assert torch.isfinite(losses.grad).all()
    return term.item()


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("pair", (1 + 2 * 3 + 10 * 4) / (1 + 3 + 4)),
        ("utterance", ((1 + 2 * 3) / (1 + 3) + 10) / 2),
        ("sum", (1 + 2 * 3 + 10 * 4) / 2),
    ],
)
def test_pairs_count_by_their_weights(reduce: str, expected: float) -> None:
    assert weighted([1.0, 3.0, 0.0, 4.0], reduce) == pytest.approx(expected)


@pytest.mark.parametrize("reduce", ["pair", "utterance", "sum"])
def test_equal_weights_change_no_mean(reduce: str) -> None:
    plain = weighted(None, reduce)
    assert weighted([1.0] * 4, reduce) == pytest.approx(plain)
    if reduce != "sum":
        assert weighted([0.25] * 4, reduce) == pytest.approx(plain)
    assert weighted([0.0] * 4, reduce) == 0.0


def test_the_best_alternative_brings_its_own_weight() -> None:
    assert weighted([1.0, 5.0, 3.0, 1.0], "sum", [0, 0, 1, 2]) == pytest.approx((1 + 9 + 10) / 2)


def test_weights_of_utterances_not_chosen_count_nowhere() -> None:
    rows = torch.tensor([[1.0], [5.0]]), torch.zeros(2, 1), torch.tensor([0, 1])
    matcher = Offered(*rows, weight=torch.tensor([2.0, 7.0]))
    made = Distiller(OPTIONS, matcher, nn.Identity(), L1(), FACTS)
    chosen = torch.tensor([True, False])
    assert made(HEARD, SAID, SAID_LENGTHS, Context(), chosen).item() == pytest.approx(1.0)
