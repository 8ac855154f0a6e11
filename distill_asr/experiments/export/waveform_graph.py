"""A pretrained speech model on the waveform (``hf_speech``) as a graph, for any batch and time.

Legend: N utterances, S samples, F frames, D width, V vocabulary.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from distill_asr.experiments.export.graphs import LEAST, extra_parts
from distill_asr.models.encoders.audio_input import WaveformInput, standardised
from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.pretrained.padding import UtteranceGroupNorm


def waveform_problems(student: nn.Module) -> list[str]:
    """Reasons that keep a student with encoder ``hf_speech`` out of a graph, by config key."""
    problems = extra_parts(student)
    if student.normalize is not None:
        problems.append(
            f"normalize: {type(student.normalize).__name__} is not exported with encoder "
            "hf_speech; train without it"
        )
    if not isinstance(student.encoder._input, WaveformInput):
        problems.append(
            f"encoder_conf.model: {student.encoder.family} computes its own features, which are "
            "not exported to ONNX; train with hubert, wav2vec2 or wavlm, or decode with distill-asr"
        )
    return problems


class WaveformGraph(nn.Module):
    """Encoder and what comes right after it: audio [N, S] to [N, F, ...].

    Parameters
    ----------
    student : without ``waveform_problems``, in evaluation mode; it is copied.
    head : applied to the encoder's output.
    """

    def __init__(self, student: nn.Module, head: nn.Module) -> None:
        super().__init__()
        encoder: HFSpeechEncoder = student.encoder
        if not isinstance(encoder._input, WaveformInput):
            raise ValueError("; ".join(waveform_problems(student)))
        self.input = encoder._input
        self.model = copy.deepcopy(encoder.encoders)
        self.first_norm = None
        for layer in self.model.feature_extractor.conv_layers:
            if isinstance(getattr(layer, "layer_norm", None), UtteranceGroupNorm):
                self.first_norm = layer.layer_norm = MaskedNorm(layer.layer_norm.norm)
        self.head = copy.deepcopy(head)

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode audio.

        Parameters
        ----------
        x : [N, S], samples in [-1, 1].
        x_lens : [N], samples.

        Returns
        -------
        The head's output [N, F, ...] and frames [N]; 0 of audio too short for one.
        """
        shortest = self.input.min_samples
        missing = (shortest - x.size(1)) * (x.size(1) < shortest)
        x = torch.cat([x, x.new_zeros(1, 1).expand(x.size(0), missing)], dim=1)
        valid = torch.arange(x.size(1)) < x_lens[:, None]
        x = x.masked_fill(~valid, 0.0)
        if self.input.do_normalize:
            x = standardised(x[..., None], x_lens.clamp(min=1), correction=0)[..., 0]
        frames = x_lens
        for number, (kernel, stride) in enumerate(self.input.convolutions):
            frames = ((frames - kernel).div(stride, rounding_mode="floor") + 1).clamp(min=0)
            if number == 0 and self.first_norm is not None:
                self.first_norm.valid = frames
        self.input.padding.frames = frames.clamp(min=1)  # none at all would divide by zero
        attended = torch.arange(x.size(1)) < x_lens.clamp(min=shortest)[:, None]
        hidden = self.model(x, attention_mask=attended.to(torch.int64)).last_hidden_state
        return self.head(hidden), frames


class OneWaveform(nn.Module):
    """The form of a model on the waveform in sherpa-onnx: [1, S] in, [1, F, V] out, no lengths.

    It standardises the audio itself, which does not hinder the graph from doing so again.
    """

    def __init__(self, student: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.graph = WaveformGraph(student, head)
        nothing = torch.full((student.vocab_size,), LEAST)
        nothing[student.blank_id] = 0.0
        self.register_buffer("nothing", nothing)

    def forward(self, x: Tensor) -> Tensor:
        """[N, S], all of one length, -> [N, F, V]; the blank where it is too short for a frame."""
        lengths = torch.ones_like(x[:, 0], dtype=torch.int64) * x.size(1)
        scores, frames = self.graph(x, lengths)
        valid = torch.arange(scores.size(1)) < frames[:, None]
        return torch.where(valid[..., None], scores, self.nothing)


class MaskedNorm(nn.Module):
    """A group norm of one channel a group over each utterance's valid frames; zero beyond.

    Attributes
    ----------
    valid : [N], set before each call.
    """

    valid: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise ``hidden`` [N, D, F]; frames beyond ``valid`` are zero."""
        beyond = (torch.arange(hidden.size(2)) >= self.valid[:, None])[:, None]
        count = self.valid.clamp(min=1).to(hidden.dtype)[:, None, None]
        mean = hidden.masked_fill(beyond, 0.0).sum(2, keepdim=True) / count
        centred = (hidden - mean).masked_fill(beyond, 0.0)
        variance = centred.square().sum(2, keepdim=True) / count
        scale, bias = self.norm.weight[:, None], self.norm.bias[:, None]
        normed = centred / (variance + self.norm.eps).sqrt() * scale + bias
        return normed.masked_fill(beyond, 0.0)
