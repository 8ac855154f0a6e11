"""One-dimensional convolutions on a GPU that computes in bfloat16 under autocast.

Autocast would lower all of them, and cuDNN rearranges what does not have its channels last, which
takes as long as the convolution itself.

Legend: B batch, C channels, T positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvolutionInItsDtype(nn.Conv1d):
    """``nn.Conv1d`` in its weight's dtype; in bfloat16, the result has its channels last."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            input = input.to(weight.dtype)
            if weight.dtype == torch.float32 or self.groups > 1 or not self._pads_with_zeros():
                return super()._conv_forward(input, weight, bias)
            # a picture of height 1, since torch keeps channels last in two dimensions only
            image = input.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            kernel = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            stride, padding, dilation = self.stride[0], self.padding[0], self.dilation[0]
            result = functional.conv2d(
                image, kernel, bias, (1, stride), (0, padding), (1, dilation), self.groups
            )
        return result.squeeze(2)

    def _pads_with_zeros(self) -> bool:
        return self.padding_mode == "zeros" and not isinstance(self.padding, str)


def keep_dtype(model: nn.Module) -> None:
    """Have all convolutions of a model, in place, compute in the dtype of their weights.

    Parameters
    ----------
    model : with input [B, C, T] of its convolutions; hooks and weights stay as they are.
    """
    for module in model.modules():
        if type(module) is nn.Conv1d:  # a subclass may compute in a way of its own
            module.__class__ = ConvolutionInItsDtype
