"""Trained students as listeners: streaming ones as the audio comes, others again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.searches import build_search
from distill_asr.decode.streaming import StreamingSession, streaming_problems
from distill_asr.decode.text import TokenText
from distill_asr.demo.contract import Listener, Session, Words
from distill_asr.errors import UserError
from distill_asr.experiments.student import load_student

AGAIN = 1.0  # seconds of new audio after which all of it is recognised anew


def load_listeners(directories: Sequence[Path], device: str) -> tuple[list[Listener], int]:
    """Students by their experiment, and the sampling rate that all of them take, in Hz.

    Parameters
    ----------
    directories : experiments.
    device : of torch.

    Raises
    ------
    UserError : experiments that cannot be loaded; students of different sampling rates.
    """
    listeners: list[Listener] = []
    rates, problems = {}, []
    for directory in directories:
        name = directory.resolve().name
        try:
            student, config = load_student(directory, device=device)
            to_words = TokenText(config)
            rates[name] = config.rate
            if streaming_problems(student):
                search = build_search(student, config, DecodeOptions("greedy", device=device))
                listeners.append(WholeListener(name, search, to_words, config.rate, device))
            else:
                listeners.append(StreamingListener(name, student, to_words, config.rate))
        except UserError as error:
            problems += error.problems
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} {rate} Hz" for name, rate in rates.items())
        problems.append(f"students of several sampling rates ({listed}); show them one by one")
    if problems:
        raise UserError(problems)
    return listeners, next(iter(rates.values()))


class StreamingListener(Listener):
    """A student that streams."""

    how = "streaming"

    def __init__(self, name: str, student: Any, to_words: TokenText, rate: int) -> None:
        self.name = name
        self._made_of = student, to_words, rate

    def begin(self) -> Session:
        """Start with a new recording."""
        return _Streamed(StreamingSession(*self._made_of))


class _Streamed(Session):
    def __init__(self, session: StreamingSession) -> None:
        self._session = session

    def push(self, samples: np.ndarray) -> list[Words]:
        found = self._session.push(torch.from_numpy(samples))
        return [Words(one.text, one.heard, one.final) for one in found]

    def finish(self) -> list[Words]:
        return [Words(one.text, one.heard, one.final) for one in self._session.finish()]


class WholeListener(Listener):
    """A student that needs the whole utterance: all audio so far, once a second."""

    how = "whole utterance, again every second"

    def __init__(self, name: str, search: Any, to_words: TokenText, rate: int, device: str) -> None:
        self.name = name
        self._made_of = search, to_words, rate, device

    def begin(self) -> Session:
        """Start with a new recording."""
        return _Again(*self._made_of)


class _Again(Session):
    def __init__(self, search: Any, to_words: TokenText, rate: int, device: str) -> None:
        self._search, self._to_words, self._rate, self._device = search, to_words, rate, device
        self._audio = np.zeros(0, dtype=np.float32)
        self._known = 0  # samples that were recognised

    def push(self, samples: np.ndarray) -> list[Words]:
        self._audio = np.concatenate([self._audio, samples])
        due = len(self._audio) - self._known >= AGAIN * self._rate
        return [self._words(final=False)] if due else []

    def finish(self) -> list[Words]:
        return [self._words(final=True)]

    def _words(self, final: bool) -> Words:
        self._known = len(self._audio)
        speech = torch.from_numpy(self._audio).to(self._device)
        found = self._search(speech) if len(speech) else []
        text = self._to_words(found[0].tokens) if found else ""
        return Words(text, self._known / self._rate, final)
