"""The words expected of an exported student: PyTorch's, by the rules of the runtime's search.

Legend: S samples, T feature frames, C their width, F encoder frames, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from espnet.nets.pytorch_backend.transformer.subsampling import TooShortUttError
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder
from torch import Tensor, nn

from distill_asr.experiments.export.graphs import adapted
from distill_asr.experiments.export.kinds import Form, reads_waveform
from distill_asr.models.encoders.chunked import ChunkedStream


class Expected:
    """Tokens of a student by greedy search.

    Parameters
    ----------
    student : in evaluation mode.
    form : what it is exported as.
    unknown : index of ``<unk>``, which runtimes take for a blank in a transducer.
    """

    def __init__(self, student: nn.Module, form: Form, unknown: int | None) -> None:
        self.student, self.form, self.unknown = student, form, unknown

    @torch.inference_mode()
    def __call__(self, samples: Tensor) -> list[int]:
        """Samples [S] to tokens."""
        if self.form.kind == "ctc":
            return self._best_path(self._encoded(samples))
        if self.form.kind == "streaming_ctc":
            return self._best_path(self._streamed(samples))
        if self.form.cif is not None:
            return self._integrate(self._encoded(samples))
        if self.form.stream is None:
            return self._transduce(self._encoded(samples))
        return self._transduce(self._streamed(samples))

    def _encoded(self, samples: Tensor) -> Tensor:
        """Encoder output [F, D] of a whole utterance; F is 0 where it is too short for a frame."""
        count = torch.tensor([len(samples)])
        try:
            if self._has_input(count):
                return self.student.encode(samples[None], count)[0][0]
        except TooShortUttError:
            pass
        return samples.new_zeros(0, self.student.encoder.output_size())

    def _has_input(self, count: Tensor) -> bool:
        if reads_waveform(self.student):
            return int(count) >= self.student.encoder._input.min_samples
        return bool(self.student.frontend.num_frames(count))

    def _streamed(self, samples: Tensor) -> Tensor:
        """Encoder output [F, D] of whole chunks, as a runtime takes them."""
        tail = samples.new_zeros(tail_samples(self.student, self.form))
        samples = torch.cat([samples, tail])
        feats, lengths = self.student.frontend(samples[None], torch.tensor([len(samples)]))
        if self.student.normalize is not None:
            feats, _ = self.student.normalize(feats, lengths)
        # sherpa-onnx waits for one frame more than it takes
        chunks = ChunkedStream(self.student.encoder).push(feats[:, :-1])
        return adapted(self.student, nn.Identity())(torch.cat(chunks, dim=1))[0]

    def _best_path(self, encoded: Tensor) -> list[int]:
        if not len(encoded):
            return []
        path = self.student.ctc.argmax(encoded[None])[0].unique_consecutive()
        return [token for token in path.tolist() if token != self.student.blank_id]

    def _transduce(self, encoded: Tensor) -> list[int]:
        """One token a frame at most."""
        joint, blank, tokens = self.student.joint_network, self.student.blank_id, []
        predicted, state = self._predicted(blank, None)
        for frame in joint.lin_enc(encoded):
            best = int(joint(frame, predicted, no_projection=True).argmax())
            if best not in (blank, self.unknown):
                tokens.append(best)
                predicted, state = self._predicted(best, state)
        return tokens

    def _integrate(self, encoded: Tensor) -> list[int]:
        """The best token of each fired vector, up to the end token."""
        if not len(encoded):
            return []
        student, tokens = self.student, list[int]()
        fired = student.integrate(encoded[None], torch.tensor([len(encoded)])).states[0]
        memory = student.decoder.start(fired) if len(fired) else None
        for index in range(len(fired)):
            last = torch.tensor([tokens[-1] if tokens else student.sos])
            logits, memory = student.decoder.step(memory, index, last)
            best = _without(logits[0], student.blank_id)
            if best == student.eos:
                break
            tokens.append(best)
        return tokens

    def _predicted(self, token: int, state: Any) -> tuple[Tensor, Any]:
        """Projected output of the predictor after one more token, and its state."""
        decoder, project = self.student.decoder, self.student.joint_network.lin_dec
        embedded = decoder.embed(torch.tensor([[token]]))
        if isinstance(decoder, StatelessDecoder):
            return project(embedded[0, 0]), None
        out, state = decoder.rnn_forward(embedded, state or decoder.init_state(1))
        return project(out[0, 0]), state


def _without(logits: Tensor, blank: int) -> int:
    """The best of all tokens [V] but the blank, which such a student never emits."""
    return int(logits.index_fill(0, torch.tensor(blank), float("-inf")).argmax())


def tail_samples(student: nn.Module, form: Form) -> int:
    """Samples of silence that a stream needs after the audio, so that all of it is in whole chunks.

    Parameters
    ----------
    student : its front-end's shift counts, in samples.
    form : of the export; 0 samples where it does not stream.
    """
    if form.stream is None:
        return 0
    return (form.stream.window + form.stream.step) * student.frontend.shift
