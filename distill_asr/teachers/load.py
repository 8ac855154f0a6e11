"""A teacher from its file: the kinds that come with the package, and users' own classes."""

from __future__ import annotations

from importlib import import_module

from distill_asr.teachers.config import KINDS, TeacherConfig
from distill_asr.teachers.contract import Teacher
from distill_asr.teachers.own import load_own

CONTROLS = "distill_asr.teachers.controls"


def load_teacher(config: TeacherConfig, device: str = "cpu") -> Teacher:
    """Load the teacher that a config describes.

    Parameters
    ----------
    config : of any kind.
    device : of torch.

    Raises
    ------
    UserError : it is missing or not of its kind, or there is no such device.
    """
    if config.kind not in KINDS:
        return load_own(config, device)
    module, name = KINDS[config.kind].split(":")
    teacher = getattr(import_module(module), name).from_config(config, device)
    if not config.asks_for_means:
        return teacher
    return import_module(CONTROLS).PieceTeacher.of(teacher, config)
