"""Shorter steps on a CPU: the same sums, masks as probable, nothing else of a student changed."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill_asr.espnet.cpu_training import BitDropout, shorten_steps, update_in_one_pass
from distill_asr.espnet.task import build_untrained
from distill_asr.testing.fixtures import tiny_config
from distill_asr.testing.students import tiny_student


@given(
    p=st.sampled_from([0.03, 0.1, 0.5, 0.9]),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_numbers_are_dropped_or_scaled_and_so_are_their_gradients(
    p: float, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    numbers = torch.ones(shape, dtype=dtype, requires_grad=True)
    given_out = BitDropout(p)(numbers)
    assert given_out.shape == numbers.shape and given_out.dtype == dtype
    scale = torch.tensor(1 / (1 - p), dtype=dtype)
    near = {"rtol": 1e-2 if dtype == torch.bfloat16 else 2e-4, "atol": 0.0}
    kept = given_out != 0
    torch.testing.assert_close(given_out[kept], scale.expand(int(kept.sum())), **near)
    given_out.sum().backward()
    assert torch.equal(numbers.grad, given_out.detach())


@pytest.mark.parametrize("p", [0.05, 0.1, 0.3, 0.5])
def test_masks_keep_their_share_and_nothing_repeats(p: float) -> None:
    torch.manual_seed(0)
    count = 400_000
    masks = torch.stack([BitDropout(p)(torch.ones(count)) for _ in range(4)]) != 0
    spread = (p * (1 - p) / count) ** 0.5
    assert (masks.float().mean(1) - (1 - p)).abs().max() < 5 * spread
    both = masks[:, 1:] & masks[:, :-1]  # neighbours are independent, and four share one number
    together = (p * (2 - p) * (1 - p) ** 2 / count) ** 0.5
    assert (both.float().mean(1) - (1 - p) ** 2).abs().max() < 10 * together
    alike = (masks[0] == masks[1]).float().mean()
    assert abs(alike - (p**2 + (1 - p) ** 2)) < 0.01


def test_the_same_seed_gives_the_same_mask_and_the_next_another() -> None:
    torch.manual_seed(3)
    first, second = (BitDropout(0.5)(torch.ones(100)) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(BitDropout(0.5)(torch.ones(100)), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 1e-6, 1.0])
def test_extremes_are_torchs(p: float) -> None:
    torch.manual_seed(0)
    ours = BitDropout(p)(torch.ones(1000))
    torch.manual_seed(0)
    assert torch.equal(ours, nn.Dropout(p)(torch.ones(1000)))
    assert bool(ours.any()) == (p < 1)


def test_nothing_is_dropped_outside_training() -> None:
    numbers = torch.randn(5, 7)
    assert torch.equal(BitDropout(0.5).eval()(numbers), numbers)
    assert not BitDropout(0.5)(torch.ones(0, 4)).numel()


def without_shortening(student: nn.Module) -> nn.Module:
    """A copy with torch's dropout and the layout that ESPnet's features have."""
    plain = copy.deepcopy(student)
    for module in plain.modules():
        if isinstance(module, nn.Sequential):
            module._forward_pre_hooks.clear()
        for name, child in list(module.named_children()):
            if type(child) is BitDropout:
                setattr(module, name, nn.Dropout(child.p))
    return plain


@pytest.mark.parametrize("input_layer", ["conv2d", "conv2d6", "conv2d1"])
def test_without_dropout_loss_and_gradients_are_those_of_espnet(input_layer: str) -> None:
    config = tiny_config("ctc")
    conf = {**config["encoder_conf"], "input_layer": input_layer}
    conf |= {name: 0.0 for name in conf if name.endswith("dropout_rate")}
    torch.manual_seed(0)
    student = build_untrained({**config, "encoder_conf": conf, "specaug": None}).train()
    hooked = [m for m in student.modules() if isinstance(m, nn.Sequential) and m._forward_pre_hooks]
    assert hooked, "no convolution has its channels last"
    batch = {
        "speech": torch.randn(2, 16000), "speech_lengths": torch.tensor([16000, 12000]),
        "text": torch.tensor([[2, 3], [3, -1]]), "text_lengths": torch.tensor([2, 1]),
    }  # fmt: skip
    found = []
    for model in (student, without_shortening(student)):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        loss = model(**batch)[0]
        loss.backward()
        found.append((loss, [p.grad for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)
    assert len(found[0][1]) > 10


def test_names_layouts_and_modes_of_a_student_stay() -> None:
    student = nn.ModuleDict(
        {
            "embed": nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)),
            "out": nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3)),
            "still": nn.Dropout(0.2).eval(),
        }
    )
    before = {n: (p.data_ptr(), p.stride()) for n, p in student.state_dict().items()}
    shorten_steps(student)
    assert {n: (p.data_ptr(), p.stride()) for n, p in student.state_dict().items()} == before
    assert type(student["out"][1]) is type(student["still"]) is BitDropout
    assert student["out"][1].training and not student["still"].training
    assert [student["out"][1].p, student["still"].p] == [0.3, 0.2]
    student.eval()
    assert student["embed"](torch.ones(1, 1, 9, 9)).stride() == (4 * 25, 25, 5, 1)


def test_a_built_student_has_both() -> None:
    student = tiny_student("transducer")
    assert not [m for m in student.modules() if type(m) is nn.Dropout]
    assert [m for m in student.modules() if type(m) is BitDropout]


@pytest.mark.parametrize(
    ("kind", "conf"),
    [
        (torch.optim.AdamW, {"weight_decay": 0.01}),
        (torch.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
        (torch.optim.SGD, {}),
    ],
)
def test_one_pass_gives_the_same_update(kind: type[torch.optim.Optimizer], conf: dict) -> None:
    found = []
    for together in (False, True):
        torch.manual_seed(0)
        shapes = ((3, 17), (1,), (65, 64))
        weights = [nn.Parameter(torch.randn(s)) for s in shapes]
        weights.append(nn.Parameter(torch.randn(8, 6, 3, 3).to(memory_format=torch.channels_last)))
        weights.append(nn.Parameter(torch.randn(7, 5).t()))
        optimizer = kind([{"params": weights[:1]}, {"params": weights[1:], "lr": 0.1}], **conf)
        if together:
            update_in_one_pass(optimizer)
        for _ in range(7):
            optimizer.zero_grad()
            # by a backward pass, which gives gradients the layout of their weights
            sum((w * torch.randn(w.shape)).sum() for w in weights).backward()
            optimizer.step()
        found.append((weights, [group.get("fused") for group in optimizer.param_groups]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert found[1][1] == [True if kind is not torch.optim.SGD else None] * 2


def test_a_training_that_began_with_another_way_goes_on_with_it() -> None:
    weight = nn.Parameter(torch.ones(3))
    begun = torch.optim.AdamW([weight], foreach=True)
    weight.grad = torch.ones(3)
    begun.step()
    continued = torch.optim.AdamW([weight])
    update_in_one_pass(continued)
    continued.load_state_dict(begun.state_dict())
    assert continued.param_groups[0]["foreach"] and not continued.param_groups[0]["fused"]
    continued.step()


@pytest.mark.parametrize("said", [{"foreach": False}, {"fused": True}, {"fused": False}])
def test_what_the_config_says_of_the_optimizer_stays(said: dict) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], **said)
    before = dict(optimizer.param_groups[0])
    update_in_one_pass(optimizer)
    assert optimizer.param_groups[0] == before
