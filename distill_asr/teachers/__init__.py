"""Frozen teachers: what a large pretrained model says about an utterance.

A kind of teacher is one module with a class that offers ``from_config(config, device)`` and what
``Teacher`` lists; it is entered in ``KINDS`` of ``teachers/config.py``. Users' own classes are
named by dotted path instead, see docs/teachers.md.
"""

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from distill_asr.teachers.config import KINDS, TeacherConfig
from distill_asr.teachers.own import load_own

__all__ = ["Teacher", "TeacherConfig", "load_teacher"]


class Teacher(Protocol):
    """What a dump needs. Legend: N samples, S teacher positions, E teacher width.

    Attributes
    ----------
    reads : what an item of ``states`` is: ``audio`` (float32 [N] at 16 kHz), ``text`` (str), or
        ``audio+text`` (a pair of both).
    step_ms : duration of one position; None on token level.
    width : E.
    min_samples : shortest audio that gives one position; 0 where no audio is read.
    max_size : longest item, in the unit of ``size``; None where there is no limit. Whoever calls
        ``states`` refuses longer items before heavy work, and names them.
    fingerprint : SHA-256 of everything that decides the numbers.
    tokens : what the columns stand for; only of one that gives log-posteriors.
    """

    reads: str
    step_ms: float | None
    width: int
    min_samples: int
    max_size: int | None
    fingerprint: str

    def states(self, items: list[Any]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each item; batching does not change the numbers."""

    def size(self, item: Any) -> int:
        """What batches are bounded by: samples of audio; pieces of text, special ones included."""


def load_teacher(config: TeacherConfig, device: str = "cpu") -> Teacher:
    """Load the teacher a config describes; UserError if it is missing or not of its kind."""
    if config.kind not in KINDS:
        return load_own(config, device)
    module, name = KINDS[config.kind].split(":")
    return getattr(import_module(module), name).from_config(config, device)
