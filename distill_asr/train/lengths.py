"""Checks that utterances are long enough for the student's encoder and for their transcripts.

Legend: N samples, T frames of the encoder's output, U tokens.
"""

from __future__ import annotations

import functools
import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence

import torch

from distill_asr.data.datadir import DataDir
from distill_asr.data.token_list import Coverage
from distill_asr.errors import named
from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.models.students.base import Student, evaluating

_LOG = logging.getLogger(__name__)
_SHORT, LONG = 1.0, 3.0  # seconds of noise by which the frame rate is found
NEAR = 3  # frames by which an estimate may be wrong
_MEASURED = 200  # utterances whose frames are counted and not estimated

Tokenize = Callable[[str], Sequence[str]]


class FrameCounter:
    """Frames T that a student makes of N samples, measured on noise.

    Nothing is assumed about its front-end or its subsampling; the random state is left alone.
    """

    def __init__(self, student: Student, sampling_rate: int) -> None:
        self._student = student
        self.sampling_rate = sampling_rate
        self._count = functools.cache(self._measure)
        short, long = (round(seconds * sampling_rate) for seconds in (_SHORT, LONG))
        self._from = short, self(short)
        self._per_sample = (self(long) - self(short)) / (long - short)

    def __call__(self, samples: int) -> int:
        """T of one utterance alone; 0 where it is too short for the student."""
        return self._count(samples)

    @property
    def works(self) -> bool:
        """Whether the student could process the noise at all."""
        return self._per_sample > 0

    def estimate(self, samples: int) -> float:
        """T by the frame rate, right to a few frames."""
        return self._from[1] + (samples - self._from[0]) * self._per_sample

    def least(self, too_short: int) -> int:
        """The fewest samples that the student can process.

        Parameters
        ----------
        too_short : a number of samples that it cannot.
        """
        enough = max(round(_SHORT * self.sampling_rate), too_short + 1)
        while enough - too_short > 1:
            middle = (enough + too_short) // 2
            if self(middle) > 0:
                enough = middle
            else:
                too_short = middle
        return enough

    def _measure(self, samples: int) -> int:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(self._student):
            noise = torch.randn(1, samples) * 0.1
            try:
                _, lengths = self._student.encode(noise, torch.tensor([samples]))
            except Exception:  # any layer may raise on an empty input
                return 0
        return max(int(lengths[0]), 0)


def too_short(sets: Sequence[DataDir], frames: FrameCounter) -> list[str]:
    """Utterances that are too short for one frame of the student's encoder.

    Parameters
    ----------
    sets : utterances without a length are not looked at.
    frames : counts the encoder's frames of so many samples.
    """
    lengths = {count for data in sets for count in (data.num_samples or {}).values()}
    if not lengths or not frames.works or frames(min(lengths)) > 0:
        return []
    least = frames.least(min(lengths))
    seconds = math.ceil(1000 * least / frames.sampling_rate) / 1000
    problems = []
    for data in sets:
        short = {u: n for u, n in (data.num_samples or {}).items() if n < least}
        if short:
            first = min(short, key=short.__getitem__)
            problems.append(
                f"{data.path}: {named(short)} too short for one frame of this student's "
                f"encoder: {first} has {short[first]} samples, expected at least {least}; leave "
                f"them out with `distill-asr prepare --min-duration {seconds:g}`"
            )
    return problems


def too_long(sets: Sequence[DataDir], student: Student, sampling_rate: int) -> list[str]:
    """Utterances that are longer than the window of a pretrained encoder.

    Parameters
    ----------
    sets : utterances without a length are not looked at.
    student : only a pretrained encoder has a window.
    sampling_rate : of the audio, Hz.
    """
    longest = student.encoder.max_samples if isinstance(student.encoder, HFSpeechEncoder) else None
    if longest is None:
        return []
    problems = []
    for data in sets:
        long = {u: n for u, n in (data.num_samples or {}).items() if n > longest}
        if long:
            first = max(long, key=long.__getitem__)
            problems.append(
                f"{data.path}: {named(long)} longer than the window of this student's encoder: "
                f"{first} has {long[first]} samples, expected at most {longest}; leave them out "
                f"with `distill-asr prepare --max-duration {longest / sampling_rate:g}`"
            )
    return problems


def warn_of_transcripts(
    sets: Sequence[DataDir], student: Student, frames: FrameCounter, tokenize: Tokenize
) -> None:
    """Report transcripts that cannot be trained on: unknown tokens, more tokens than frames.

    Parameters
    ----------
    sets : labelled.
    student : its token list says what is known.
    frames : counts the encoder's frames of so many samples.
    tokenize : a transcript -> its tokens.
    """
    needs_frames = frames.works and bool({"ctc", "cif"} & set(student.tap_names()))
    for data in sets:
        texts = data.text or {}
        frames_needed: dict[str, int] = {}  # by a CTC

        def counted(utterance: str, texts=texts, into=frames_needed) -> Sequence[str]:
            tokens = tokenize(texts[utterance])
            if needs_frames:  # a blank has to come between equal tokens
                into[utterance] = len(tokens) + sum(map(operator.eq, tokens, tokens[1:]))
            return tokens

        coverage = Coverage.of(texts, counted, student.token_list)
        if coverage.unknown:
            _LOG.warning(f"{data.path / 'text'}: {coverage}")
        crowded = _crowded(frames_needed, data.num_samples or {}, frames)
        if crowded:
            first, (needed, there) = next(iter(crowded.items()))
            _LOG.warning(
                f"{data.path / 'text'}: {named(crowded)} with more tokens than the student has "
                f"frames, so they add nothing to the training: {first} needs {needed} frames "
                f"and has {there}; choose a lower subsampling or longer tokens, or remove them"
            )


def _crowded(
    frames_needed: Mapping[str, int], samples: Mapping[str, int], frames: FrameCounter
) -> Mapping[str, tuple[int, int]]:
    """Frames that a CTC needs and has, of the utterances that have fewer than it needs."""
    found: dict[str, tuple[int, int]] = {}
    measured = 0
    for utterance, needed in frames_needed.items():
        there = frames.estimate(samples[utterance])
        if needed > there - NEAR and measured < _MEASURED:
            measured += 1
            there = frames(samples[utterance])
        if needed > there:
            found[utterance] = needed, int(there)
    return found
