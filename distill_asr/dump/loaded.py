"""A teacher in the process that runs it, and what is asked of it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.dump.machine import settle

if TYPE_CHECKING:
    from distill_asr.dump.source import DataSource
    from distill_asr.targets.manifest import Settings
    from distill_asr.teachers import Teacher, TeacherConfig

Advance = Callable[[int], None]  # called with the share of the work that is done


@dataclass(frozen=True)
class TeacherTraits:
    """Facts about a teacher that the rest of a dump needs; see ``Teacher``."""

    reads: str
    step_ms: float | None
    min_samples: int
    max_size: int | None
    fingerprint: str
    tokens: tuple[str, ...] | None = None  # of a teacher that gives posteriors


@dataclass(frozen=True)
class LoadedTeacher:
    """A teacher on a device, loaded once it is needed and kept."""

    config: TeacherConfig
    device: str
    threads: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", self.config.on(self.device))

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher; UserError if it cannot be loaded."""
        from distill_asr.teachers import load_teacher

        teacher = load_teacher(self.config, self.device)
        settle(self.threads)
        return teacher


def facts(loaded: LoadedTeacher, _: Advance) -> TeacherTraits:
    """Describe the teacher."""
    teacher = loaded.teacher
    return TeacherTraits(
        teacher.reads,
        teacher.step_ms,
        teacher.min_samples,
        teacher.max_size,
        teacher.fingerprint,
        teacher.tokens,
    )


def size_problems(loaded: LoadedTeacher, _: Advance, source: DataSource) -> list[str]:
    """Name items that are too short or too long.

    Parameters
    ----------
    loaded : the teacher.
    source : the items.
    """
    return source.size_problems(loaded.teacher)


def error_of_dtype(loaded: LoadedTeacher, _: Advance, source: DataSource) -> float:
    """How far the states are from float32's: norm of the difference over the norm.

    Parameters
    ----------
    loaded : the teacher, in its own dtype.
    source : a few items, which are all read.
    """
    from distill_asr.pretrained.precision import relative_error
    from distill_asr.teachers import load_teacher

    batches = source.batches(loaded.teacher, loaded.config)
    items = [[source.read(utterance) for utterance in batch] for batch in batches]
    states = [row for batch in items for row in loaded.teacher.states(batch)]
    exact = load_teacher(replace(loaded.config, dtype="float32"), loaded.device)
    return relative_error(states, [row for batch in items for row in exact.states(batch)])


def codec_settings(
    loaded: LoadedTeacher,
    _: Advance,
    settings: Settings,
    directories: list[Path],
    sources: list[DataSource],
) -> Settings:
    """Make ready what the codec needs, see ``prepare_codec``.

    Parameters
    ----------
    loaded : the teacher.
    settings : of the targets.
    directories : of the targets, one a data dir.
    sources : the data dirs.

    Returns
    -------
    The settings, with what the codec adds.
    """
    from distill_asr.dump.codebooks import prepare_codec

    return prepare_codec(
        settings, directories, loaded.teacher, sources, loaded.config, loaded.device
    )
