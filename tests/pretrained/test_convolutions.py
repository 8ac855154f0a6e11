"""Convolutions beside bfloat16 compute what torch's compute in the dtype of their weights."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distill_asr.pretrained.convolutions import ConvolutionInItsDtype, keep_dtype

AUTOCAST = ("cpu", torch.bfloat16)


def audio(batch: int, channels: int, steps: int = 30) -> torch.Tensor:
    return torch.randn(batch, channels, steps, generator=torch.Generator().manual_seed(channels))


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 8]),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.one_of(st.integers(0, 2), st.just("valid")),
    dilation=st.integers(1, 2),
    depthwise=st.booleans(),
    lowered=st.booleans(),
    mode=st.sampled_from(["zeros", "replicate"]),
)
def test_equals_torch(
    batch: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int | str,
    dilation: int,
    depthwise: bool,
    lowered: bool,
    mode: str,
) -> None:
    groups = channels if depthwise else 1
    layer = nn.Conv1d(
        channels, 4 * groups, kernel, stride, padding, dilation, groups, padding_mode=mode
    ).requires_grad_(False)
    dtype = torch.bfloat16 if lowered else torch.float32
    layer.to(dtype)
    given = audio(batch, channels)
    expected = layer(given.to(dtype))
    keep_dtype(layer)
    with torch.autocast(*AUTOCAST):
        found = layer(given)
    assert found.dtype == dtype
    # sums of at most 40 products in another order, each rounded once
    torch.testing.assert_close(
        found, expected, rtol=2**-7 if lowered else 1e-5, atol=1e-2 if lowered else 1e-5
    )


def test_channels_lie_last_for_the_norm_behind() -> None:
    layer = nn.Conv1d(8, 16, 3, 2, dtype=torch.bfloat16).requires_grad_(False)
    keep_dtype(layer)
    assert layer(audio(2, 8)).transpose(1, 2).is_contiguous()


def test_hooks_stay_and_other_classes_too() -> None:
    class Own(nn.Conv1d):
        pass

    model = nn.Sequential(nn.Conv1d(1, 2, 3), Own(2, 2, 3))
    seen = []
    model[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    keep_dtype(model)
    model(audio(1, 1))
    assert [type(layer) for layer in model] == [ConvolutionInItsDtype, Own]
    assert seen == [(1, 1, 30)]
