"""A user's own matchers, losses and heads that break their contract: the message names them."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.build import build_distillers
from distill_asr.distill.contracts import CODES, Loss, Matcher
from distill_asr.distill.distiller import PATIENCE
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.promises import declaration_problems, failure, forward_problems
from distill_asr.distill.states import Context, Pairs, States, TapShape
from distill_asr.errors import UserError
from distill_asr.testing.codebooks import random_codebooks

STUDENT = States(torch.randn(3, 5, 4), torch.tensor([5, 4, 5]), 40.0)
LENGTHS = torch.tensor([2, 2, 2])
FACTS = TeacherFacts(width=6, step_ms=None)
HERE = __name__


class First(Matcher):
    """The first state of each utterance with the teacher's first, as a subclass bends it."""

    def forward(self, student: States, teacher: States, context: Context) -> object:
        every = torch.arange(len(student.lengths))
        return self.bend(Pairs(student.values[:, 0], teacher.values[:, 0], every))

    def bend(self, pairs: Pairs) -> object:
        return pairs


class Twice(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, teacher=pairs.teacher.repeat(2, 1))


class Wide(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, teacher=pairs.teacher.repeat(1, 2))


class Narrow(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, student=pairs.student[:, :3])


class AsTuple(First):
    def bend(self, pairs: Pairs) -> object:
        return pairs.student, pairs.teacher


class ColumnOfWeights(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, weight=torch.ones(3, 1))


class BelowZero(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, weight=-torch.ones(3))


class Elsewhere(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, utterance=pairs.utterance + 7)


class Halves(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, utterance=pairs.utterance / 2)


class Averaged(First):
    def bend(self, pairs: Pairs) -> object:
        return replace(pairs, teacher=pairs.teacher.float())


class Objects(First):
    def bend(self, pairs: Pairs) -> object:
        raise ValueError("anna-1: too long")


class Fails(First):
    def bend(self, pairs: Pairs) -> object:
        raise KeyError("anna-1")


class Nothing(First):
    def bend(self, pairs: Pairs) -> object:
        return Pairs(pairs.student[:0], pairs.teacher[:0], pairs.utterance[:0])


class TextsNotAsked(First):
    def forward(self, student: States, teacher: States, context: Context) -> object:
        return [len(text) for text in context.texts]


class Mean(Loss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).abs().mean()


class EachDimension(Loss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).abs()


class Item(Loss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).abs().mean().item()


class Breaks(Loss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student @ teacher).mean(1)


class Compares(Mean):
    needs_tokens = True


class NoWidth(Loss):
    def input_width(self, paired_width: int, classes: int) -> int:
        return None


class Codes(Loss):
    reads = CODES

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return student.mean(1)


def term(match: str = "First", loss: str = "mse", facts: TeacherFacts = FACTS) -> nn.Module:
    matcher = f"{HERE}.{match}"
    block = DistillBlock("bert", "encoder", loss, match=matcher, head_conf=None)
    return build_distillers({"x": block}, {"encoder": TapShape(4, 40.0)}, {"bert": facts})["x"]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("Twice", r"student \[3, 4\], teacher \[6, 6\], utterance \[3\]; expected"),
        ("ColumnOfWeights", r"weight \[3, 1\]"),
        ("Wide", "12 wide, and paired_width gives 6; override paired_width"),
        ("Narrow", "student states are 3 wide; those of the tap 4"),
        ("AsTuple", "gave tuple; expected Pairs"),
        ("BelowZero", "weight has numbers below 0"),
        ("Elsewhere", "utterance goes from 7 to 9; the batch has 0 to 2"),
        ("Halves", "utterance is of type float32"),
        ("Objects", "anna-1: too long"),
        ("TextsNotAsked", "declare `reads_text = True`"),
    ],
)
def test_a_matcher_that_breaks_its_contract(match: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"distill\.x: match {HERE}\.{match}: .*{said}"):
        term(match)(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("Mean", r"gave \[\] of type float32; expected one number a pair, \[3\]"),
        ("EachDimension", r"gave \[3, 6\]"),
        ("Item", "gave float; expected a tensor"),
    ],
)
def test_a_loss_that_breaks_its_contract(loss: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"distill\.x: loss {HERE}\.{loss}: .*{said}"):
        term(loss=f"{HERE}.{loss}")(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())


def test_a_failure_keeps_its_cause_and_names_the_block() -> None:
    with pytest.raises(RuntimeError, match=r"distill\.x: match .*Fails failed: KeyError") as found:
        term("Fails")(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())
    assert isinstance(found.value.__cause__, KeyError)
    with pytest.raises(RuntimeError, match=r"distill\.x: loss .*Breaks failed: RuntimeError: mat1"):
        term(loss=f"{HERE}.Breaks")(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())


def test_a_loss_that_compares_tokens_gets_them() -> None:
    with pytest.raises(UserError, match="pairs have no tokens, which the loss compares"):
        term(loss=f"{HERE}.Compares")(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())


def test_averaged_codes_are_refused() -> None:
    facts = replace(FACTS, codebooks=random_codebooks(6, count=2))
    codes = torch.zeros(3, 2, 2, dtype=torch.int64)
    assert term(loss=f"{HERE}.Codes", facts=facts)(STUDENT, codes, LENGTHS, Context()).dim() == 0
    with pytest.raises(UserError, match="float32, and the loss reads codes"):
        term("Averaged", f"{HERE}.Codes", facts)(STUDENT, codes, LENGTHS, Context())


def test_a_width_that_is_none_is_found_at_building() -> None:
    with pytest.raises(UserError, match=r"distill\.x: loss .*NoWidth: input_width gave None"):
        term(loss=f"{HERE}.NoWidth")


def test_a_matcher_that_never_pairs_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    never = term("Nothing")
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * PATIENCE):
            assert never(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context()).item() == 0
    (record,) = caplog.records
    assert f"no pair in {PATIENCE} batches" in record.getMessage()


def test_the_numbers_of_later_batches_cost_nothing() -> None:
    good = term("First")
    assert good(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context()) > 0
    good.matcher = BelowZero()  # looked at once
    good(STUDENT, torch.randn(3, 2, 6), LENGTHS, Context())


class NoForward(Matcher):
    pass


class FewArguments(Matcher):
    def forward(self, student: States, teacher: States) -> Pairs:
        raise NotImplementedError


class NoTokens(Loss):
    needs_tokens = True

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        raise NotImplementedError


class NotMade(Loss):
    def __init__(self) -> None:
        self.scale = 2

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        raise NotImplementedError


class OddReads(Mean):
    reads = "code"


class OddTakes(First):
    takes = "vectors"


@pytest.mark.parametrize(
    ("kind", "part", "said"),
    [
        ("match", NoForward, r"has no forward; it is called as forward\(student, teacher, context"),
        ("match", FewArguments, "too many positional arguments"),
        ("match", OddTakes, "takes is 'vectors'; expected a tuple of vectors, codes"),
        ("loss", NoTokens, r"called as forward\(student, teacher, tokens=\): got an unexpected"),
        ("loss", NotMade, r"has to call super\(\).__init__\(\) first"),
        ("loss", OddReads, "reads is 'code'; expected one of vectors, codes, posteriors"),
    ],
)
def test_what_a_class_declares(kind: str, part: type[nn.Module], said: str) -> None:
    (problem,) = declaration_problems(kind, part())
    assert re.search(said, problem)


def test_good_ones_have_no_problems() -> None:
    assert declaration_problems("match", First()) == declaration_problems("loss", Mean()) == []
    assert forward_problems("head", nn.Identity) == []


def test_a_failure_names_the_line_of_its_file() -> None:
    try:
        Fails().bend(None)
    except KeyError as error:
        assert f"{__file__}:" in failure(Fails, error)
