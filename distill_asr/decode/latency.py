"""How late a streaming student is: against the clock, and against a forced alignment."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torchaudio.functional import forced_align, merge_tokens

from distill_asr.decode.recognised import Recognised
from distill_asr.models.encoders.chunked import FULL_CONTEXT


@dataclass
class Latency:
    """Sums over utterances; times in seconds.

    Parameters
    ----------
    audio, computing : duration of all audio, and of the work on it.
    first_partials : audio received when an utterance's first words were shown.
    emitted : by token, the frame in which it came out minus the frame where it begins.
    shown : by token, the audio received when it was shown, minus the begin of that frame: how
        long a user waits, computation not included.
    unaligned : utterances without a forced alignment.
    """

    audio: float = 0.0
    computing: float = 0.0
    first_partials: list[float] = field(default_factory=list)
    emitted: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    unaligned: int = 0

    @property
    def real_time_factor(self) -> float:
        """Work over audio."""
        return self.computing / self.audio if self.audio else math.nan

    def lines(self) -> list[str]:
        """The report."""
        report = [
            f"audio {self.audio:.1f} s, computing {self.computing:.1f} s, "
            f"real-time factor {self.real_time_factor:.3f}",
            f"first partial after {_middle(self.first_partials)} of audio",
            f"token emitted {_middle(self.emitted)} after its beginning (transducer's own delay)",
            f"token shown   {_middle(self.shown)} after its beginning (chunk and pieces included)",
        ]
        if self.unaligned:
            report.append(f"{self.unaligned} utterance(s) without a forced alignment")
        return report


def _middle(values: list[float]) -> str:
    if not values:
        return "(nothing measured)"
    spread = torch.tensor(values, dtype=torch.float64)
    median, most = spread.quantile(0.5), spread.quantile(0.9)
    return f"{1000 * median:.0f} ms (median; 90 %: {1000 * most:.0f} ms)"


class _Session(Protocol):
    """What listens: a ``StreamingSession`` or an ``OnnxSession``."""

    def push(self, samples: Any) -> list[Recognised]:
        """Take samples [n]; return every change of the hypothesis."""

    def finish(self) -> list[Recognised]:
        """End the audio."""


class TimedUtterance:
    """One utterance through a session, with a stop-watch.

    Parameters
    ----------
    session : fresh, in any runtime.
    """

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.computing = 0.0
        self.tokens: list[int] = []
        self.times: list[float] = []  # of the frames in which tokens came out
        self.heard: list[float] = []  # audio received when they were shown
        self._open = 0  # tokens of the segment that is not final yet

    def push(self, samples: Any) -> list[Recognised]:
        """As the session's."""
        return self._timed(lambda: self.session.push(samples))

    def finish(self) -> list[Recognised]:
        """As the session's."""
        return self._timed(self.session.finish)

    def _timed(self, work: Callable[[], list[Recognised]]) -> list[Recognised]:
        begin = time.perf_counter()
        results = work()
        self.computing += time.perf_counter() - begin
        for result in results:
            new = len(result.tokens) - self._open
            self.tokens += result.tokens[self._open :]
            self.times += result.times[self._open :]
            self.heard += [result.heard] * new
            self._open = 0 if result.final else len(result.tokens)
        return results

    def add_to(self, latency: Latency, student: nn.Module, speech: Tensor, rate: int) -> None:
        """Add this utterance, which is finished.

        Parameters
        ----------
        latency : gets it.
        student : aligns the tokens found to the speech.
        speech : [samples], all that was pushed.
        rate : in Hz.
        """
        latency.audio += len(speech) / rate
        latency.computing += self.computing
        if not self.tokens:
            return
        latency.first_partials.append(self.heard[0])
        begins = align(student, speech, self.tokens, rate)
        if begins is None:
            latency.unaligned += 1
            return
        for begin, emitted, heard in zip(begins, self.times, self.heard, strict=True):
            latency.emitted.append(emitted - begin)
            latency.shown.append(heard - begin)


@torch.inference_mode()
def align(student: nn.Module, speech: Tensor, tokens: list[int], rate: int) -> list[float] | None:
    """Begin of each token in seconds: forced alignment by the auxiliary CTC, with full context.

    None without such a CTC, and where the frames are too few for the tokens.

    Parameters
    ----------
    student : one that can stream.
    speech : [samples].
    rate : in Hz.
    """
    encoder, device = student.encoder, next(student.parameters()).device
    if student.ctc is None:
        return None
    chunk, encoder.chunk_size = encoder.chunk_size, FULL_CONTEXT
    try:
        encoded, _ = student.encode(speech[None].to(device), torch.tensor([len(speech)]).to(device))
    finally:
        encoder.chunk_size = chunk
    repeated = sum(first == second for first, second in itertools.pairwise(tokens))
    if encoded.size(1) < len(tokens) + repeated:
        return None
    posteriors = student.ctc.log_softmax(encoded).float()
    targets = torch.tensor([tokens], device=device)
    path, scores = forced_align(posteriors, targets, blank=student.blank_id)
    step = student.frontend.shift * encoder.embed.subsampling_factor / rate
    return [span.start * step for span in merge_tokens(path[0], scores[0], student.blank_id)]
