"""Laws of the codebook loss."""

import math

import pytest
import torch
from torch import Tensor

from distill_asr.distill.losses import Codebook

CLASSES = 256


def pairs(count: int = 5, codes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [N, codes * 256] and codes [N, codes]."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, codes * CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.randint(CLASSES, (count, codes), generator=generator)


def test_formula() -> None:
    logits, codes = pairs()
    expected = []
    for row, chosen in zip(logits.tolist(), codes.tolist(), strict=True):
        terms = []
        for book, code in enumerate(chosen):
            own = row[book * CLASSES : (book + 1) * CLASSES]
            terms.append(math.log(sum(math.exp(value) for value in own)) - own[code])
        expected.append(sum(terms) / len(terms))
    torch.testing.assert_close(Codebook()(logits, codes), torch.tensor(expected).double())


def test_no_opinion_costs_the_logarithm_of_the_entries() -> None:
    loss = Codebook()(torch.full((4, 2 * CLASSES), 7.0), torch.randint(CLASSES, (4, 2)))
    torch.testing.assert_close(loss, torch.full((4,), math.log(CLASSES)))


def test_certainty_of_the_teachers_codes_costs_nothing() -> None:
    _, codes = pairs()
    sure = torch.nn.functional.one_hot(codes, CLASSES).flatten(1) * 100.0
    torch.testing.assert_close(Codebook()(sure, codes), torch.zeros(5))
    assert (Codebook()(sure, (codes + 1) % CLASSES) > 99).all()


def test_pairs_and_codebooks_do_not_know_each_other() -> None:
    logits, codes = pairs()
    loss = Codebook()
    together = loss(logits, codes)
    alone = torch.cat([loss(logits[i : i + 1], codes[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    books = [loss(logits.unflatten(1, (3, CLASSES))[:, b], codes[:, b : b + 1]) for b in range(3)]
    torch.testing.assert_close(together, torch.stack(books).mean(dim=0))


def test_gradient_is_what_is_said_minus_what_is_so() -> None:
    logits, codes = pairs()
    Codebook()(logits.requires_grad_(), codes).sum().backward()
    said = logits.detach().unflatten(1, (3, CLASSES)).softmax(dim=2)
    expected = (said - torch.nn.functional.one_hot(codes, CLASSES)) / 3
    torch.testing.assert_close(logits.grad, expected.flatten(1))


def test_no_pairs_give_no_numbers_but_a_way_for_the_gradient() -> None:
    logits = torch.zeros(0, 2 * CLASSES, requires_grad=True)
    loss = Codebook()(logits, torch.zeros(0, 2, dtype=torch.int64))
    assert loss.shape == (0,) and loss.requires_grad


def test_there_is_nothing_to_wait_for_in_distributed_training() -> None:
    assert list(Codebook().parameters()) == []


@pytest.mark.parametrize(("codes", "width"), [(16, 4096), (32, 8192)])
def test_width_of_the_head(codes: int, width: int) -> None:
    assert Codebook.reads == "codes"
    assert Codebook().input_width(codes, CLASSES) == width
