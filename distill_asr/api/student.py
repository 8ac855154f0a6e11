"""A trained student that recognises files and arrays, whole or as they come in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, overload

import numpy as np
import torch
from torch import Tensor, nn

from distill_asr.decode.greedy import search_all, step_ms
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.recognised import Recognised
from distill_asr.decode.search import Hypothesis
from distill_asr.decode.searches import build_search
from distill_asr.decode.speech import at_rate, read_at
from distill_asr.decode.streaming import StreamingSession, set_chunk_size, streaming_problems
from distill_asr.decode.text import TokenText
from distill_asr.errors import UserError
from distill_asr.experiments import student as experiments
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.layout import AVERAGED
from distill_asr.models.encoders.chunked import ChunkedEncoder

Audio: TypeAlias = str | os.PathLike[str] | np.ndarray | Tensor


@dataclass(frozen=True)
class Transcript:
    """What was recognised in one recording.

    Parameters
    ----------
    text : words.
    score : the search's, a sum of log-probabilities.
    tokens : as the student's token list spells them.
    times : seconds from the begin of the audio to the encoder frame in which each token came out;
        None from searches that do not know it (``timestamps=True`` has beam search over a
        transducer find them).
    alternatives : the next best, with ``nbest`` over 1.
    """

    text: str
    score: float
    tokens: tuple[str, ...]
    times: tuple[float, ...] | None = None
    alternatives: tuple[Transcript, ...] = ()


class LoadedStudent:
    """A student in evaluation mode.

    Attributes
    ----------
    model : the ``torch.nn.Module``.
    config : the config it was built from.
    device : of torch, that it is on.
    """

    def __init__(self, model: nn.Module, config: ModelConfig, device: str) -> None:
        self.model = model
        self.config = config
        self.device = device
        self._to_words = TokenText(config)
        self._step: float | None = None

    @property
    def rate(self) -> int:
        """Sampling rate of its input audio, in Hz."""
        return self.config.rate

    @overload
    def transcribe(
        self, audio: Audio, options: DecodeOptions | None = ..., *, rate: int | None = ...
    ) -> Transcript: ...

    @overload
    def transcribe(
        self, audio: Sequence[Audio], options: DecodeOptions | None = ..., *, rate: int | None = ...
    ) -> list[Transcript]: ...

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        options: DecodeOptions | None = None,
        *,
        rate: int | None = None,
    ) -> Transcript | list[Transcript]:
        """Recognise one recording, or several; the words of ``distill-asr decode``.

        Parameters
        ----------
        audio : a mono file of any sampling rate, or float samples [n] in [-1, 1]; or a list.
        options : of the search; those of the verb where not given.
        rate : of arrays, in Hz; None: the student's.

        Raises
        ------
        UserError : everything wrong with the options or the audio; nothing is recognised then.
        """
        options = options or DecodeOptions(device=self.device)
        if problems := options.problems():
            raise UserError(problems)
        several = isinstance(audio, (list, tuple))
        given: list[Audio] = [*audio] if isinstance(audio, (list, tuple)) else [audio]
        speech = self._read(given, rate)
        with self._chunks(options.chunk_size):
            found = self._search(speech, options)
        transcripts = [self._transcript(each) for each in found]
        return transcripts if several else transcripts[0]

    def stream(self, chunk_size: int | None = None, endpoint: float | None = 0.8) -> Stream:
        """Begin to recognise audio that comes in pieces; any number of streams at a time.

        Parameters
        ----------
        chunk_size : encoder frames; None: the student's own.
        endpoint : seconds without a token that end a segment; None: only the end of the audio.

        Raises
        ------
        UserError : the student cannot stream; every part that is in the way.
        """
        if problems := streaming_problems(self.model, chunk_size):
            raise UserError([f"{self.config.file}: {problem}" for problem in problems])
        return Stream(StreamingSession(self.model, self._to_words, self.rate, chunk_size, endpoint))

    @contextmanager
    def _chunks(self, chunk_size: int | None) -> Iterator[None]:
        """Within the block the student encodes with this chunk size; None for its own."""
        if chunk_size is None:
            yield
            return
        encoder = self.model.encoder
        before = encoder.chunk_size if isinstance(encoder, ChunkedEncoder) else None
        set_chunk_size(self.model, chunk_size)
        try:
            yield
        finally:
            encoder.chunk_size = before

    def _search(self, speech: Sequence[Tensor], options: DecodeOptions) -> list[list[Hypothesis]]:
        """Hypotheses of each recording, the best first."""
        search = build_search(self.model, self.config, options)
        # those that are searched together are of similar length
        order = sorted(range(len(speech)), key=lambda number: (len(speech[number]), number))
        rows = ((str(number), speech[number].to(self.device)) for number in order)
        found = {int(name): each for name, each in search_all(search, rows)}
        return [found[number] for number in range(len(speech))]

    def _read(self, audio: Sequence[Audio], rate: int | None) -> list[Tensor]:
        speech, problems = [], []
        for number, one in enumerate(audio):
            try:
                if isinstance(one, (str, os.PathLike)):
                    samples = read_at(os.fspath(one), self.rate)
                else:
                    samples = at_rate(_samples(one, number), rate or self.rate, self.rate)
                speech.append(torch.from_numpy(samples))
            except UserError as error:
                problems += error.problems
        if problems:
            raise UserError(problems)
        return speech

    def _transcript(self, found: Sequence[Hypothesis]) -> Transcript:
        ranked = [self._one(words, one) for words, one in self._to_words.best(found).items()]
        best, *others = ranked
        return Transcript(best.text, best.score, best.tokens, best.times, tuple(others))

    def _one(self, words: str, found: Hypothesis) -> Transcript:
        tokens = tuple(self._to_words.tokens[number] for number in found.tokens)
        times = None
        if found.frames is not None:
            self._step = self._step or step_ms(self.model, self.rate)
            times = tuple(frame * self._step / 1000 for frame in found.frames)
        return Transcript(words, found.score, tokens, times)


class Stream:
    """Audio in, words out; see ``LoadedStudent.stream``."""

    def __init__(self, session: StreamingSession) -> None:
        self._session = session

    def push(self, samples: np.ndarray | Tensor) -> list[Recognised]:
        """Take float samples [n] in [-1, 1], any n; give every change of the hypothesis."""
        return self._session.push(torch.from_numpy(_samples(samples, 0)))

    def finish(self) -> list[Recognised]:
        """The audio is over: what it still holds, and the last segment as final."""
        return self._session.finish()


def load_student(
    directory: str | os.PathLike[str], checkpoint: str = AVERAGED, device: str = "cpu"
) -> LoadedStudent:
    """The student that a training wrote.

    Parameters
    ----------
    directory : of the experiment, such as ``exp/distilled_seed1``.
    checkpoint : file in it; the average of the best epochs where not given.
    device : of torch.

    Raises
    ------
    UserError : files are missing or damaged, or the student has no output for text.
    """
    model, config = experiments.load_student(os.fspath(directory), checkpoint, device)
    return LoadedStudent(model, config, device)


def _samples(given: np.ndarray | Tensor, number: int) -> np.ndarray:
    """float32 [n]; UserError where it is something else."""
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise UserError(
            f"audio {number}: {array.dtype} of shape {list(array.shape)}; expected float samples "
            "[n] in [-1, 1]"
        )
    if not np.isfinite(array).all():
        raise UserError(f"audio {number}: NaN or infinite samples; expected finite ones in [-1, 1]")
    return np.ascontiguousarray(array, dtype=np.float32)
