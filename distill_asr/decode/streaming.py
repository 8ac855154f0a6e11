"""Recognition of audio that comes in pieces of any length.

Legend: C encoder frames of a chunk, D width of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from distill_asr.decode.greedy import MAX_SYMBOLS, GreedySearch
from distill_asr.decode.recognised import Recognised
from distill_asr.errors import UserError
from distill_asr.models.encoders.adapter import Adapter
from distill_asr.models.encoders.chunked import FULL_CONTEXT, ChunkedEncoder, ChunkedStream
from distill_asr.models.frontends.kaldi_fbank import KaldiFbank
from distill_asr.models.frontends.streaming import FbankStream


class EncoderStream:
    """Front-end, normalisation and encoder of a student over audio that comes in pieces.

    Together the chunks are the output of ``student.encode`` with the same chunk size.

    Parameters
    ----------
    student : in evaluation mode.
    chunk_size : C; the encoder's own where not given.

    Raises
    ------
    UserError : the student cannot stream; every part that is in the way.
    """

    def __init__(self, student: nn.Module, chunk_size: int | None = None) -> None:
        problems = streaming_problems(student, chunk_size)
        if problems:
            raise UserError(problems)
        self._normalize, self._adapter = student.normalize, student.postencoder
        self._frontend = FbankStream(student.frontend)
        self._encoder = ChunkedStream(student.encoder, chunk_size)
        # a piece of this many samples completes one chunk at most
        self.frame_samples = student.frontend.shift * student.encoder.embed.subsampling_factor
        self.chunk_samples = self._encoder.chunk_size * self.frame_samples

    @torch.inference_mode()
    def push(self, samples: Tensor, final: bool = False) -> list[Tensor]:
        """Take [n] samples; give the chunks [1, C, D] that are complete by now.

        Parameters
        ----------
        final : nothing comes after these; the last chunk may be shorter.
        """
        feats = self._frontend.push(samples, final)
        if self._normalize is not None and feats.size(1):
            lengths = torch.tensor([feats.size(1)], device=feats.device)
            feats, _ = self._normalize(feats, lengths)
        chunks = self._encoder.push(feats, final)
        if self._adapter is None:
            return chunks
        return [self._adapter.added(chunk) for chunk in chunks]


class StreamingSession:
    """A transducer student listening: audio in, hypotheses out.

    What a session keeps does not grow with the audio, but for the tokens of the segment that is
    open. How the audio is cut into pieces does not change the words.

    Parameters
    ----------
    student : in evaluation mode.
    to_words : token ids to text.
    rate : of the audio, in Hz.
    chunk_size : encoder frames; the encoder's own where not given.
    endpoint : a segment ends when no token came out for this many seconds; None: only at the end.
    max_symbols : tokens in a frame at most.

    Raises
    ------
    UserError : the student cannot stream; every part that is in the way.
    """

    def __init__(
        self,
        student: nn.Module,
        to_words: Callable[[list[int]], str],
        rate: int = 16000,
        chunk_size: int | None = None,
        endpoint: float | None = 0.8,
        max_symbols: int = MAX_SYMBOLS,
    ) -> None:
        self._encoder = EncoderStream(student, chunk_size)
        self._search = GreedySearch(
            student.decoder, student.joint_network, student.blank_id, max_symbols
        )
        self._to_words = to_words
        self._device = next(student.parameters()).device
        self._state = self._search.start(1, self._device)
        self._rate = rate
        self._endpoint = endpoint
        self._samples = 0

    def push(self, samples: Tensor | np.ndarray) -> list[Recognised]:
        """Take more audio; return every change of the hypothesis.

        Parameters
        ----------
        samples : [n] in [-1, 1], any n.
        """
        results = []
        # long audio takes no more memory
        for piece in torch.as_tensor(samples).split(self._encoder.chunk_samples):
            self._samples += len(piece)
            for chunk in self._encoder.push(piece.to(self._device)):
                results += self._listen(chunk)
        return results

    def finish(self) -> list[Recognised]:
        """The audio is over: what it still holds, and the last segment as final."""
        results = []
        for chunk in self._encoder.push(torch.zeros(0, device=self._device), final=True):
            results += self._listen(chunk)
        return results + ([self._close()] if self._state.tokens[0] else [])

    def _listen(self, chunk: Tensor) -> list[Recognised]:
        """One chunk [1, C, D]."""
        state, known = self._state, len(self._state.tokens[0])
        lengths = torch.tensor([chunk.size(1)], device=chunk.device)
        self._search.advance(state, chunk, lengths)
        results = [self._recognised(final=False)] if len(state.tokens[0]) > known else []
        if state.tokens[0] and self._endpoint is not None:
            silence = (state.time - state.frames[0][-1] - 1) * self._step
            if silence >= self._endpoint:
                results.append(self._close())
        return results

    def _close(self) -> Recognised:
        """The open segment as final; the next one begins without its tokens."""
        result, time = self._recognised(final=True), self._state.time
        self._state = self._search.start(1, self._device)
        self._state.time = time
        return result

    def _recognised(self, final: bool) -> Recognised:
        tokens = list(self._state.tokens[0])
        times = [frame * self._step for frame in self._state.frames[0]]
        return Recognised(self._to_words(tokens), tokens, times, self._samples / self._rate, final)

    @property
    def _step(self) -> float:
        """Seconds of an encoder frame."""
        return self._encoder.frame_samples / self._rate


def streaming_problems(student: nn.Module, chunk_size: int | None = None) -> list[str]:
    """What keeps a student from streaming, by config key; nothing where it can.

    Parameters
    ----------
    chunk_size : the one asked for, if any.
    """
    from espnet2.layers.global_mvn import GlobalMVN

    problems = []
    if not isinstance(student.frontend, KaldiFbank):
        problems.append(f"frontend: {_name(student.frontend)} does not stream; use kaldi_fbank")
    if not isinstance(student.normalize, GlobalMVN | None):
        problems.append(
            f"normalize: {_name(student.normalize)} needs the whole utterance; train with "
            "global_mvn or none"
        )
    for key in ("preencoder", "postencoder"):
        if not isinstance(getattr(student, key), Adapter | None):
            problems.append(f"{key}: {_name(getattr(student, key))} does not stream; use none")
    if not isinstance(student.encoder, ChunkedEncoder):
        problems.append(
            f"encoder: {_name(student.encoder)} needs the whole utterance; train with chunked"
        )
    elif (student.encoder.chunk_size if chunk_size is None else chunk_size) == FULL_CONTEXT:
        problems.append("encoder_conf.chunk_size: 0 is full context; choose a chunk size to stream")
    if not hasattr(student, "joint_network"):
        problems.append("model: only a transducer can stream; train one")
    return problems


def set_chunk_size(student: nn.Module, chunk_size: int) -> None:
    """Have a trained student encode with another chunk size.

    Parameters
    ----------
    student : its encoder changes in place.
    chunk_size : encoder frames; 0 for full context.

    Raises
    ------
    UserError : its encoder has no chunks.
    """
    if not isinstance(student.encoder, ChunkedEncoder):
        raise UserError(
            f"chunk size {chunk_size}: this student's encoder is a {_name(student.encoder)}, which "
            "has no chunks; train with encoder: chunked"
        )
    student.encoder.chunk_size = chunk_size


def _name(module: nn.Module | None) -> str:
    return "none" if module is None else type(module).__name__
