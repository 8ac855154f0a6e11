"""Frozen teachers: large pretrained models that compute targets of an utterance.

A kind of teacher is one module with a class derived from ``Teacher`` that offers
``from_config(config, device)``; it is entered in ``KINDS`` of ``teachers/config.py``. Users' own
classes derive from ``Teacher`` too and are named by dotted path, see docs/teachers.md.
"""

from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.contract import Teacher
from distill_asr.teachers.load import load_teacher

__all__ = ["Teacher", "TeacherConfig", "load_teacher"]
