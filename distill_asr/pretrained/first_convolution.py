"""The first convolution of a waveform model and its group norm, as one matrix product.

With a group for each channel, as in all base models, the norm is affine in each channel, and its
statistics follow from those of the windows u that the convolution sees: a channel with the kernel w
has the mean w·E[u] and the variance w' Cov[u] w over time. So nothing of the convolution's output,
the largest array of the whole model, is needed before it is normalised.

Legend: B batch, N samples, T frames, C channels, K samples of a window.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill_asr.pretrained.padding import UtteranceGroupNorm

CONVOLUTION_CHUNK = 2048  # frames computed together, few enough to stay in a core's cache


class FoldedConvolution(nn.Module):
    """Convolution, norm over each utterance's own frames, activation.

    Parameters
    ----------
    layer : with ``conv`` of one input channel, ``layer_norm`` and ``activation``.
    dtype : of the output.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = layer.conv
        self.norm = layer.layer_norm
        self.activation = layer.activation
        self.dtype = dtype

    def forward(self, hidden: Tensor) -> Tensor:
        """Give [B, C, T], channels last in memory, for [B, 1, N]; zeros beyond the valid frames."""
        windows = hidden[:, 0].unfold(-1, self.conv.kernel_size[0], self.conv.stride[0])
        shape = (*windows.shape[:2], self.conv.out_channels)
        output = hidden.new_zeros(shape, dtype=self.dtype)
        for row, valid in enumerate(self.norm.lengths.first_conv):
            weight, bias = self._folded(windows[row, :valid])
            for begin in range(0, valid, CONVOLUTION_CHUNK):
                chunk = slice(begin, min(begin + CONVOLUTION_CHUNK, valid))
                normalised = functional.linear(windows[row, chunk], weight, bias)
                output[row, chunk] = self.activation(normalised)
        return output.transpose(1, 2)

    def _folded(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Give weight [C, K] and bias [C] for the windows [T, K] of one utterance."""
        norm, kernels = self.norm.norm, self.conv.weight[:, 0].double()
        exact = windows.double()
        mean = exact.mean(dim=0)
        centred = exact - mean
        covariance = centred.T @ centred / len(exact)
        variance = ((kernels @ covariance) * kernels).sum(dim=1)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        # a bias of the convolution is part of its mean, and so drops out
        bias = norm.bias - scale * (kernels @ mean)
        return (scale[:, None] * kernels).float(), bias.float()


def fold_first_norm(model: nn.Module) -> None:
    """Put a ``FoldedConvolution`` in the place of the first layer, where the model has a front."""
    layers = getattr(getattr(model, "feature_extractor", None), "conv_layers", ())
    for number, layer in enumerate(layers):
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, UtteranceGroupNorm) and norm.norm.num_groups == norm.norm.num_channels:
            following = layers[number + 1].conv.weight if number + 1 < len(layers) else None
            dtype = torch.float32 if following is None else following.dtype
            layers[number] = FoldedConvolution(layer, dtype)
