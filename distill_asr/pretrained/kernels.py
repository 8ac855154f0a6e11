"""Faster ways to compute on a CPU what a model asks torch for, without a change to the model.

While a ``TorchFunctionMode`` is active, torch hands every call of its functions to it, whoever
makes the call. So one table of replacements serves every family of models.

Torch gives float32 matrix products to MKL, which leaves AVX-512 unused on other makers'
processors, and one-dimensional convolutions to oneDNN in a layout that it is slow in. oneDNN's
matrix product and its two-dimensional convolution, channels last, take half the time or less.
Attention in bfloat16 is two matrix products there, as long as the scores fit into memory.

Legend: B batch, C channels, T positions, H heads, E width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from distill_asr.pretrained.convolutions import conv1d_channels_last

MOST_SCORES = 256 << 20  # bytes of attention scores in one call; beyond, torch's own way


class Kernels(TorchFunctionMode):
    """Replaces some of torch's functions while it is active.

    Parameters
    ----------
    lowered : the model computes in bfloat16 under autocast, with norms and some convolutions left
        in float32.
    """

    def __init__(self, lowered: bool) -> None:
        super().__init__()
        self._table: dict[Any, Callable] = {}
        if torch.backends.mkldnn.is_available():
            self._table |= {functional.linear: _linear, functional.conv1d: _conv1d_channels_last}
        if lowered:
            self._table |= {
                functional.layer_norm: _layer_norm,
                functional.scaled_dot_product_attention: _attention,
            }

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Call the replacement, or the function itself."""
        return self._table.get(function, function)(*args, **(kwargs or {}))


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``functional.linear`` in the weight's dtype."""
    if weight.dtype != torch.float32:
        return functional.linear(input.to(weight.dtype), weight, bias)
    return torch.ops.mkldnn._linear_pointwise(input.float(), weight, bias, "none", [], "")


def _conv1d_channels_last(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``functional.conv1d`` in the weight's dtype; the result [B, C, T] lies with channels last."""
    if isinstance(padding, str) or input.dim() != 3:
        return _conv1d_in_its_dtype(input, weight, bias, stride, padding, dilation, groups)
    stride, padding, dilation = _number(stride), _number(padding), _number(dilation)
    if input.shape[1] == 1 and padding == 0 and dilation == 1:
        windows = input[:, 0].unfold(-1, weight.shape[2], stride)
        return _linear(windows, weight[:, 0], bias).transpose(1, 2)
    return conv1d_channels_last(input, weight, bias, stride, padding, dilation, groups)


def _conv1d_in_its_dtype(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **more: Any
) -> Tensor:
    """``functional.conv1d`` in the weight's dtype."""
    with _no_autocast(input):
        return functional.conv1d(input.to(weight.dtype), weight, bias, *rest, **more)


def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``functional.layer_norm`` from and to float32, so that what follows is added up in it."""
    return functional.layer_norm(input.float(), normalized_shape, weight, bias, eps)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``functional.scaled_dot_product_attention`` of [B, H, T, E / H]."""
    scores_bytes = query.shape[:-1].numel() * key.shape[-2] * 2
    if is_causal or enable_gqa or dropout_p or scores_bytes > MOST_SCORES:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query * scale, key.transpose(-1, -2))
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(scores.softmax(dim=-1).to(value.dtype), value)


def _no_autocast(tensor: Tensor) -> Any:
    return torch.autocast(tensor.device.type, enabled=False)


def _number(value: Any) -> int:
    return value[0] if isinstance(value, (tuple, list)) else value
