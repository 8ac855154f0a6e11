"""The training of each kind of teacher, by its settings."""

from __future__ import annotations

from distill_asr.train_teacher.settings import SpeechSettings, TextSettings
from distill_asr.train_teacher.speech import SpeechTeacherTraining
from distill_asr.train_teacher.text import TextTeacherTraining
from distill_asr.train_teacher.trainer import TeacherSets, TeacherTraining


def teacher_training(settings: SpeechSettings | TextSettings, sets: TeacherSets) -> TeacherTraining:
    """Training of the kind that the settings are of."""
    if isinstance(settings, SpeechSettings):
        return SpeechTeacherTraining(settings, sets)
    return TextTeacherTraining(settings, sets)
