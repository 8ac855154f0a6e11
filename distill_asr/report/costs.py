"""Measured cost of each stage and job of the recipe, beside the forecast of ``plan``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.experiments.costs import JobCost, clock, read_forecast, read_jobs

STAGES = {  # by the first word of a job's name
    "train-teacher": "teachers",
    "pseudo-label": "recogniser",
    "dump": "dump",
    "pretrain": "train",
    "train": "train",
    "decode": "decode",
}


@dataclass(frozen=True)
class _Row:
    """A job: seconds of processor time and MiB, expected and taken; None if unknown.

    ``load``: programs that wanted a core when it ended.
    """

    name: str
    expected: float | None
    taken: float | None
    memory_expected: float | None
    memory: float | None
    load: float | None

    @property
    def off(self) -> float | None:
        """How much more was expected than taken, as a share of what was taken."""
        return _off(self.expected, self.taken)


@dataclass(frozen=True)
class Stage:
    """A stage: seconds on the clock, and its jobs."""

    name: str
    expected: float | None
    taken: float | None
    jobs: Sequence[_Row]

    @property
    def processor(self) -> tuple[float, float] | None:
        """Processor time of the jobs of which both are known: expected, taken."""
        both = [(one.expected, one.taken) for one in self.jobs if one.expected and one.taken]
        return (sum(e for e, _ in both), sum(t for _, t in both)) if both else None

    @property
    def off(self) -> float | None:
        """The ratio of a job, for the sums."""
        return _off(*self.processor) if self.processor else None


def stage_costs(exp: Path) -> list[Stage]:
    """Stages in their order; empty without records."""
    forecast, taken = read_forecast(exp), read_jobs(exp)
    expected = {} if forecast is None else dict(forecast.stages)
    planned = {job.name for jobs in expected.values() for job in jobs}
    names = {stage: [job.name for job in jobs] for stage, jobs in expected.items()}
    for name in taken:
        if name not in planned:
            names.setdefault(STAGES.get(name.split()[0], "other"), []).append(name)
    of_plan = {job.name: job for jobs in expected.values() for job in jobs}
    lasting = {} if forecast is None else forecast.lasting
    return [
        Stage(
            stage,
            lasting.get(stage),
            clock(done) if (done := [taken[name] for name in jobs if name in taken]) else None,
            [_row(name, of_plan.get(name), taken.get(name)) for name in jobs],
        )
        for stage, jobs in names.items()
        if jobs
    ]


def _row(name: str, expected: JobCost | None, taken: JobCost | None) -> _Row:
    return _Row(
        name,
        None if expected is None else expected.seconds,
        None if taken is None else taken.seconds,
        None if expected is None else expected.memory,
        None if taken is None else taken.memory,
        None if taken is None else taken.load or None,
    )


def _off(expected: float | None, taken: float | None) -> float | None:
    return (expected - taken) / taken if expected and taken else None
