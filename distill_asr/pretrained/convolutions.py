"""One-dimensional convolutions with channels last, and in the dtype of their weights.

oneDNN and cuDNN rearrange what does not have its channels last, which takes as long as the
convolution itself. Autocast would lower all convolutions of a model that computes in bfloat16.

Legend: B batch, C channels, T positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv1d_channels_last(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
) -> Tensor:
    """``functional.conv1d`` in the weight's dtype; the result [B, C, T] lies with channels last."""
    # a picture of height 1, since torch keeps channels last in two dimensions only
    image = input.to(weight.dtype).unsqueeze(2).contiguous(memory_format=torch.channels_last)
    kernel = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    with torch.autocast(input.device.type, enabled=False):
        result = functional.conv2d(
            image, kernel, bias, (1, stride), (0, padding), (1, dilation), groups
        )
    return result.squeeze(2)


class ConvolutionInItsDtype(nn.Conv1d):
    """``nn.Conv1d`` in its weight's dtype; in bfloat16, the result has its channels last."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if plain and weight.dtype != torch.float32 and self.groups == 1:
            stride, padding, dilation = self.stride[0], self.padding[0], self.dilation[0]
            return conv1d_channels_last(input, weight, bias, stride, padding, dilation, 1)
        with torch.autocast(input.device.type, enabled=False):
            return super()._conv_forward(input.to(weight.dtype), weight, bias)


def keep_dtype(model: nn.Module) -> None:
    """Have all convolutions of a model, in place, compute in the dtype of their weights.

    Parameters
    ----------
    model : with input [B, C, T] of its convolutions; hooks and weights stay as they are.
    """
    for module in model.modules():
        if type(module) is nn.Conv1d:  # a subclass may compute in a way of its own
            module.__class__ = ConvolutionInItsDtype
