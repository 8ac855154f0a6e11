"""From raw audio to what a pretrained speech model reads, batched, as if each utterance were alone.

Legend: B batch, N samples, F feature vectors (10 ms), T frames of the model (20 ms), M mel bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.models.frontends.kaldi_fbank import KaldiFbank
from distill_asr.pretrained.padding import keep_padding_out

EPSILON = 1e-7  # added to variances, as in transformers' feature extractors


class WaveformInput:
    """Samples as they are, or with mean 0 and variance 1 (wav2vec 2.0, HuBERT, WavLM).

    Parameters
    ----------
    model : patched so that padding does not leak into it.
    do_normalize : standardise each utterance.

    Attributes
    ----------
    min_samples : shortest audio that gives a frame.
    """

    def __init__(self, model: nn.Module, do_normalize: bool) -> None:
        kernels, strides = model.config.conv_kernel, model.config.conv_stride
        self.convolutions = list(zip(kernels, strides, strict=True))
        self.do_normalize = do_normalize
        self.padding = keep_padding_out(model)
        self.min_samples = 1
        for kernel, stride in reversed(self.convolutions):
            self.min_samples = (self.min_samples - 1) * stride + kernel

    def __call__(self, speech: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Arguments of the model for speech [B, N], and frames [B]."""
        valid = torch.arange(speech.size(1), device=speech.device) < lengths.unsqueeze(1)
        speech = speech.float().masked_fill(~valid, 0.0)
        if self.do_normalize:
            speech = standardised(speech.unsqueeze(-1), lengths, correction=0).squeeze(-1)
        frames = lengths
        for number, (kernel, stride) in enumerate(self.convolutions):
            frames = torch.div(frames - kernel, stride, rounding_mode="floor") + 1
            if number == 0:
                self.padding.first_conv = frames.tolist()
        self.padding.frames = frames.tolist()
        return {"input_values": speech, "attention_mask": valid.to(torch.int64)}, frames


class FilterbankInput:
    """Kaldi's log-mel features, standardised, two in one vector (w2v-BERT 2.0).

    Parameters
    ----------
    width : of a vector; twice the mel bins.
    do_normalize : standardise each mel bin over the utterance.
    """

    stride = 2  # feature vectors in one frame

    def __init__(self, width: int, do_normalize: bool) -> None:
        mels, rest = divmod(width, self.stride)
        if rest:
            raise ValueError(f"features of width {width} are not {self.stride} of the same kind")
        self.fbank = KaldiFbank(
            fs=SAMPLE_RATE, n_mels=mels, high_freq=0, input_scale=32768, snip_edges=True
        )
        self.do_normalize = do_normalize
        # the deviation of a single vector is not defined
        self.min_samples = self.fbank.window_size + self.fbank.shift

    def __call__(self, speech: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Arguments of the model for speech [B, N], and frames [B]."""
        features, counts = self.fbank(speech.float(), lengths)
        if self.do_normalize:
            features = standardised(features, counts, correction=1)
        frames = torch.div(counts, self.stride, rounding_mode="floor")
        total = features.size(1) // self.stride
        # a last vector without its neighbour is dropped
        features = features[:, : total * self.stride].reshape(len(features), total, -1)
        valid = torch.arange(total, device=features.device) < frames.unsqueeze(1)
        features = features.masked_fill(~valid.unsqueeze(-1), 0.0)
        return {"input_features": features, "attention_mask": valid.to(torch.int64)}, frames


def standardised(values: Tensor, lengths: Tensor, correction: int) -> Tensor:
    """Each utterance and dimension with mean 0 and variance 1 over its valid steps, zero beyond.

    Parameters
    ----------
    values : [B, N, M], zero beyond the lengths.
    correction : 1 for the unbiased variance.
    """
    beyond = torch.arange(values.size(1), device=values.device) >= lengths.unsqueeze(1)
    count = lengths.reshape(-1, 1, 1).to(values.dtype)
    centred = values - values.sum(dim=1, keepdim=True) / count
    centred = centred.masked_fill(beyond.unsqueeze(-1), 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / (count - correction)
    return centred / (variance + EPSILON).sqrt()
