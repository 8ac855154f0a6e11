"""Replacements compute what torch computes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from distill_asr.pretrained.first_convolution import CONVOLUTION_CHUNK, FoldedConvolution
from distill_asr.pretrained.kernels import Kernels
from distill_asr.pretrained.padding import UtteranceGroupNorm, ValidLengths


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def close(found: torch.Tensor, expected: torch.Tensor, error: float = 1e-5) -> None:
    torch.testing.assert_close(found.float(), expected.float(), rtol=error, atol=10 * error)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20), st.booleans())
def test_linear(batch: int, steps: int, width: int, with_bias: bool) -> None:
    given, weight = normal(batch, steps, width), normal(7, width)
    bias = normal(7) if with_bias else None
    with Kernels(False):
        found = functional.linear(given, weight, bias)
    close(found, functional.linear(given, weight, bias))


@settings(max_examples=50, deadline=None)
@given(
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 2, 4]),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    depthwise=st.booleans(),
)
def test_conv1d(
    batch: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    depthwise: bool,
) -> None:
    groups = channels if depthwise else 1
    layer = torch.nn.Conv1d(channels, 4 * groups, kernel, stride, padding, dilation, groups)
    layer.requires_grad_(False)
    given = normal(batch, channels, 30)
    with Kernels(False):
        found = layer(given)
    close(found, layer(given))


def test_conv1d_of_other_forms() -> None:
    layer = torch.nn.Conv1d(2, 4, 3, padding="same").requires_grad_(False)
    for hidden in (normal(1, 2, 9), normal(2, 9)):
        with Kernels(False):
            found = layer(hidden)
        close(found, layer(hidden))


def test_weights_decide_the_dtype() -> None:
    given, weight, kernel = normal(2, 5, 4), normal(3, 4), normal(6, 5, 2)
    with torch.autocast("cpu", torch.bfloat16), Kernels(True):
        assert functional.linear(given, weight).dtype == torch.float32
        assert functional.linear(given, weight.bfloat16()).dtype == torch.bfloat16
        assert functional.conv1d(given, kernel).dtype == torch.float32
        assert functional.conv1d(given, kernel.bfloat16()).dtype == torch.bfloat16
        normed = functional.layer_norm(given.bfloat16(), (4,), normal(4), normal(4))
        assert normed.dtype == torch.float32


@pytest.mark.parametrize("mask", ["none", "bool", "added"])
def test_attention_in_bfloat16(mask: str) -> None:
    q, k, v = (normal(2, 3, n, 8, dtype=torch.bfloat16) for n in (5, 6, 6))
    valid = torch.tensor([6, 4])[:, None, None, None] > torch.arange(6)
    masks = {
        "none": None,
        "bool": valid,
        "added": torch.zeros(2, 1, 1, 6).masked_fill(~valid, -1e9),
    }
    attention = functional.scaled_dot_product_attention
    expected = attention(q.float(), k.float(), v.float(), masks[mask], scale=0.3)
    with Kernels(True):
        found = attention(q, k, v, masks[mask], scale=0.3)
    close(found, expected, 2e-2)


def test_attention_that_torch_does_better(monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_asr.pretrained import kernels

    q, k, v = (normal(1, 4, 6, 8, dtype=torch.bfloat16) for _ in range(3))
    attention = functional.scaled_dot_product_attention
    with Kernels(True):
        assert torch.equal(attention(q, k, v, is_causal=True), expected(q, k, v, is_causal=True))
        few = attention(q, k[:, :2], v[:, :2], enable_gqa=True)
        assert torch.equal(few, expected(q, k[:, :2], v[:, :2], enable_gqa=True))
    monkeypatch.setattr(kernels, "MOST_SCORES", 4 * 6 * 6 * 2 - 1)
    with Kernels(True):
        assert torch.equal(attention(q, k, v), expected(q, k, v))


def expected(*tensors: torch.Tensor, **options: bool) -> torch.Tensor:
    return functional.scaled_dot_product_attention(*tensors, **options)


@pytest.mark.parametrize("bias", [False, True])
def test_first_convolution_and_its_norm_are_one_product(bias: bool) -> None:
    layer = torch.nn.Module()
    layer.conv = torch.nn.Conv1d(1, 6, 10, 5, bias=bias)
    norm = torch.nn.GroupNorm(6, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    lengths = ValidLengths([2 * CONVOLUTION_CHUNK + 3, 70, 2], [])
    layer.layer_norm = UtteranceGroupNorm(norm, lengths)
    layer.activation = torch.nn.GELU()
    audio = 3 + 0.1 * normal(
        3, 1, 5 * (2 * CONVOLUTION_CHUNK + 3) + 5
    )  # an offset must not cancel badly
    with torch.no_grad():
        found = FoldedConvolution(layer, torch.float32)(audio)
        hidden = layer.conv(audio.double().float())
        for row, valid in enumerate(lengths.first_conv):
            alone = torch.nn.functional.group_norm(
                hidden[row : row + 1, :, :valid].double(), 6, norm.weight.double(),
                norm.bias.double(), norm.eps,
            )  # fmt: skip
            close(found[row, :, :valid], layer.activation(alone)[0], 1e-4)
            assert not found[row, :, valid:].any()
