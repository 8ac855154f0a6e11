"""The transducer loss on a CPU against torchaudio's kernel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.functional import rnnt_loss

from distill_asr.models.students import lattice_loss
from distill_asr.models.students.lattice_loss import LatticeLoss

utterance = st.tuples(st.integers(1, 9), st.integers(0, 5))


def case(utterances: list[tuple[int, int]], scale: float, seed: int) -> tuple[Tensor, ...]:
    """Logits [B, T, U + 1, V], labels, which may be blanks, frames, tokens."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.tensor([t for t, _ in utterances], dtype=torch.int32)
    tokens = torch.tensor([u for _, u in utterances], dtype=torch.int32)
    size = (len(utterances), int(frames.max()), int(tokens.max()))
    logits = scale * torch.randn(size[0], size[1], size[2] + 1, 7, generator=generator)
    labels = torch.randint(0, 7, (size[0], size[2]), generator=generator, dtype=torch.int32)
    return logits, labels, frames, tokens


def both(data: tuple[Tensor, ...], blank: int) -> list[tuple[Tensor, Tensor]]:
    """Losses and gradients, ours and torchaudio's."""
    found = []
    for loss in (LatticeLoss.apply, lambda *a: rnnt_loss(*a, reduction="none")):
        logits = data[0].clone().requires_grad_()
        losses = loss(logits, *data[1:], blank)
        (losses * torch.arange(1.0, 1.0 + len(losses))).sum().backward()
        found.append((losses.detach(), logits.grad))
    return found


@settings(max_examples=60, deadline=None)
@given(
    utterances=st.lists(utterance, min_size=1, max_size=4),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    blank=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_are_torchaudios_to_the_last_bit(
    utterances: list[tuple[int, int]], scale: float, blank: int, seed: int
) -> None:
    ours, theirs = both(case(utterances, scale, seed), blank)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.view(torch.int32), other.view(torch.int32))


def test_logits_that_are_no_numbers_give_no_number() -> None:
    data = case([(4, 2), (3, 1)], 1.0, 0)
    data[0][0, 1, 1, 3] = float("nan")
    (losses, gradients), (expected, other) = both(data, 0)
    assert losses.isnan().tolist() == expected.isnan().tolist() == [True, False]
    torch.testing.assert_close(gradients, other, rtol=0, atol=0, equal_nan=True)


def test_one_thread_gives_the_bits_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    data = case([(9, 5), (7, 3), (2, 0)], 3.0, 1)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        found.append(both(data, 0)[0])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_without_a_gradient_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, *rest = case([(3, 1)], 1.0, 2)
    made = []
    monkeypatch.setattr(torch, "zeros_like", lambda tensor: made.append(tensor))
    assert LatticeLoss.apply(logits, *rest, 0).requires_grad is False and not made


def test_where_nothing_can_be_kept_on_disk_it_compiles_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import numba

    asked = []

    def njit(signature: str, **options: object):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert lattice_loss.compiled.__wrapped__() is lattice_loss.fill and asked == [True, False]
