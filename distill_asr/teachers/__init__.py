"""Frozen teachers: what a large pretrained model says about an utterance.

A kind of teacher is one module with a class that offers ``from_config(config, device)``,
``states``, ``num_positions``, ``min_samples``, ``step_ms``, ``width`` and ``fingerprint``; it is
entered in ``KINDS`` of ``teachers/config.py``.
"""

from importlib import import_module
from typing import Protocol

import numpy as np

from distill_asr.teachers.config import KINDS, TeacherConfig

__all__ = ["Teacher", "TeacherConfig", "load_teacher"]


class Teacher(Protocol):
    """What a dump needs. Legend: S teacher positions, E teacher width."""

    step_ms: float
    width: int
    min_samples: int
    fingerprint: str

    def states(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each waveform; batching does not change the numbers."""


def load_teacher(config: TeacherConfig, device: str = "cpu") -> Teacher:
    """Load the teacher a config describes; UserError if it is missing or not of its kind."""
    module, name = KINDS[config.kind].split(":")
    return getattr(import_module(module), name).from_config(config, device)
