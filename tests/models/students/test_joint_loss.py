"""The transducer loss in parts against the loss at once."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.errors import UserError
from distill_asr.models.students.joint_loss import split
from distill_asr.models.students.transducer import TransducerStudent
from distill_asr.testing.fixtures import TOKENS, tiny_config
from distill_asr.testing.students import tiny_batch, tiny_student
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig

NODE_MB = 4 * len(TOKENS) / 2**20  # logits of one node of the lattice
EVERYTHING = 1024.0


def student(predictor: str = "lstm") -> TransducerStudent:
    conf = {"embed_size": 8, "hidden_size": 12} if predictor == "lstm" else {"embed_size": 8}
    return tiny_student("transducer", decoder=predictor, decoder_conf=conf).eval()


STUDENT = student()


def batch(frames: list[int], tokens: list[int], seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    encoded = torch.randn(len(frames), max(frames), 16, generator=generator)
    text = torch.randint(1, len(TOKENS), (len(frames), max(tokens)), generator=generator)
    text_lengths = torch.tensor(tokens)
    padding = torch.arange(text.size(1)) >= text_lengths[:, None]
    return encoded, torch.tensor(frames), text.masked_fill(padding, -1), text_lengths


def loss_and_gradients(made: TransducerStudent, data: tuple, budget: float) -> dict[str, Tensor]:
    made.joint_budget_mb = budget
    made.zero_grad()
    encoded = data[0].clone().requires_grad_()
    loss = made.transducer_loss(encoded, *data[1:])
    (3.0 * loss).backward()
    parts = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), "encoded": encoded.grad, **parts}


utterance = st.tuples(st.integers(1, 12), st.integers(0, 6))


@settings(max_examples=30, deadline=None)
@given(utterances=st.lists(utterance, min_size=1, max_size=6), nodes=st.integers(1, 300))
def test_any_budget_gives_the_same_loss_and_gradients(utterances: list, nodes: int) -> None:
    data = batch([t for t, _ in utterances], [u for _, u in utterances])
    expected = loss_and_gradients(STUDENT, data, EVERYTHING)
    found = loss_and_gradients(STUDENT, data, nodes * NODE_MB)
    assert found.keys() == expected.keys() and any("joint_network.lin_out" in k for k in found)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


@settings(max_examples=100, deadline=None)
@given(utterances=st.lists(utterance, min_size=1, max_size=12), nodes=st.integers(1, 200))
def test_parts_keep_the_budget(utterances: list, nodes: int) -> None:
    frames = torch.tensor([t for t, _ in utterances])
    positions = torch.tensor([u + 1 for _, u in utterances])
    parts = [part.tolist() for part in split(frames, positions, nodes)]
    assert sorted(index for part in parts for index in part) == list(range(len(utterances)))
    for part in parts:
        size = len(part) * int(frames[part].max()) * int(positions[part].max())
        assert size <= nodes or len(part) == 1


def test_no_logits_beyond_the_budget_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    data, sizes = batch([10, 9, 8, 8, 30, 2], [4, 4, 3, 1, 5, 0]), []
    hook = STUDENT.joint_network.lin_out.register_forward_hook(
        lambda module, args, output: sizes.append(output.shape[:-1].numel())
    )
    try:
        loss_and_gradients(STUDENT, data, 100 * NODE_MB)
        *others, largest = sorted(sizes)
        assert largest == 30 * 6, "the utterance that alone is larger runs alone"
        assert len(others) > 1 and max(others) <= 100
        sizes.clear()
        loss_and_gradients(STUDENT, data, EVERYTHING)
        assert sizes == [6 * 30 * 6], "a batch that fits is computed at once"
    finally:
        hook.remove()


def test_without_gradients() -> None:
    data = batch([5, 9, 3], [2, 4, 0])
    with torch.no_grad():
        losses = []
        for STUDENT.joint_budget_mb in (EVERYTHING, 20 * NODE_MB):
            losses.append(STUDENT.transducer_loss(*data))
    assert not losses[1].requires_grad
    torch.testing.assert_close(losses[1], losses[0])


@pytest.mark.parametrize("frozen", ["joint_network.lin_out", "decoder", "encoder", ""])
def test_frozen_parts_get_no_gradient(frozen: str) -> None:
    made = copy.deepcopy(STUDENT)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    data = batch([5, 9], [2, 4])
    made.joint_budget_mb = 20 * NODE_MB
    loss = made.transducer_loss(*data)
    assert loss.requires_grad == bool(frozen)
    if frozen:
        loss.backward()
        learnt = {n for n, p in made.named_parameters() if p.grad is not None}
        assert "joint_network.lin_enc.weight" in learnt
        assert not any(name.startswith(frozen) for name in learnt)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_under_autocast(half: torch.dtype) -> None:
    data, made = batch([5, 9, 7], [2, 4, 3]), student("stateless")  # no LSTM in float16 on CPUs
    with torch.autocast("cpu", dtype=half):
        expected = loss_and_gradients(made, data, EVERYTHING)
        found = loss_and_gradients(made, data, 40 * NODE_MB)
    assert found["loss"].dtype == torch.float32
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.05, atol=0.02, msg=name)


def test_a_training_step_in_parts() -> None:
    whole, parts = student().train(), student().train()
    parts.joint_budget_mb = 30 * NODE_MB
    losses = []
    for made in (whole, parts):
        torch.manual_seed(0)  # dropout
        loss = made(**tiny_batch((16000, 12000, 9000)))[0]
        loss.sum().backward()
        losses.append(loss.detach())
    torch.testing.assert_close(losses[0], losses[1])
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_the_budget_is_checked() -> None:
    for value in (0, -1):
        config = tiny_config("transducer", model_conf={"joint_budget_mb": value})
        with pytest.raises(UserError, match=r"joint_budget_mb: .* expected more than 0"):
            check_config(TrainConfig.parse(config, "student.yaml"))
