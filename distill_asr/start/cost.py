"""The cost of a recipe's jobs, from rates that were measured or stated; needs no torch.

Processor time, since a machine may be busy while its rates are measured; the time that a stage
takes follows from how many jobs run at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_asr.recipe.jobs import Job
from distill_asr.start.batches import Batches, spread

PCM = 32000  # bytes of a second of 16-bit audio at 16 kHz
_KEPT = 3.0  # models of an epoch's size that a training keeps besides its best: resumed, optimiser
TRAIN_START = 2.5  # seconds of processor time: checks, the model, the average at the end
MIB, GIB = 2**20, 2**30
PREPARE = "prepare"  # the stage whose jobs run by themselves
SPOKEN = 15.0  # characters a second of read speech, where no text gives it


@dataclass(frozen=True)
class SetSize:
    """Audio of a set.

    ``converted``: seconds of it that ``prepare`` writes anew; ``characters``: of its transcripts;
    ``known``: seconds of those utterances whose length is known; ``texts``: some transcripts.
    """

    seconds: float
    utterances: int
    converted: float = 0.0
    characters: float = 0.0
    known: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def lengths(self) -> list[float]:
        """Seconds of every utterance, distributed as those that are known."""
        known = self.known or (self.seconds / max(1, self.utterances),)
        return spread(known, self.utterances)


@dataclass(frozen=True)
class AudioShape:
    """What a training reads: seconds a batch and an utterance, characters a second.

    The utterance is one whose cost a second is that of the set, where costs grow with the square.
    """

    batch_seconds: float
    seconds: float
    spoken: float


@dataclass(frozen=True)
class Sample:
    """What a teacher is measured on: seconds of an utterance, some transcripts."""

    seconds: float
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnTeacher:
    """A teacher that the recipe trains: its config, and the data of ``train-teacher``."""

    config: tuple[Path, ...]
    overrides: tuple[str, ...]
    train: str
    dev: str
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommonRates:
    """Seconds of processor time: to start a verb; to read and resample.

    ``start``: with ESPnet; ``start_train``: of ``train``, which draws curves too; ``start_small``:
    without torch; ``start_teacher``: with transformers.
    """

    start: float
    start_train: float
    start_small: float
    start_teacher: float
    read: float  # a second of audio
    resample: float  # a second of audio
    epoch: float  # what an epoch costs besides its audio: checkpoints, logs
    flops: float  # multiplications and additions a second, of large matrices


@dataclass(frozen=True)
class StudentRates:
    """Of one config on a device.

    Parameters
    ----------
    train, valid, decode : seconds of processor (or GPU) time a second of audio.
    parameters : of the student.
    memory : MiB at the largest batch, the interpreter included.
    cached : seconds a second of audio for states that a training computes once, before its first
        step.
    """

    train: float
    valid: float
    decode: float
    parameters: int
    memory: float
    cached: float = 0.0


@dataclass(frozen=True)
class TeacherRates:
    """Seconds of processor (or GPU) time a second of audio, and what is stored of it.

    ``load``: seconds until it can begin.
    """

    dump: float
    bytes_per_second: float
    memory: float  # MiB
    load: float = 0.0


@dataclass(frozen=True)
class OwnTeacherRates:
    """Of a teacher that the recipe trains: the whole training, in processor time and MiB."""

    seconds: float
    memory: float
    disk: float


@dataclass(frozen=True)
class TrainingPlan:
    """A training in numbers: ``learnt`` and ``judged`` in each epoch; models that are kept."""

    epochs: int
    learnt: Batches
    judged: Batches
    kept: int


@dataclass(frozen=True)
class Cost:
    """Of one job: seconds alone on a core, MiB of disk and of memory; what it consists of."""

    seconds: float
    disk: float = 0.0
    memory: float = 0.0
    work: str = ""


@dataclass(frozen=True)
class StageCost:
    """The cost of a stage: its jobs, and the time they take together."""

    name: str
    jobs: dict[str, Cost]
    wall: float
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what jobs wait for

    @property
    def disk(self) -> float:
        """MiB written."""
        return sum(cost.disk for cost in self.jobs.values())

    @property
    def memory(self) -> float:
        """MiB of the largest job."""
        return max((cost.memory for cost in self.jobs.values()), default=0.0)


def training_cost(
    plan: TrainingPlan, student: StudentRates, common: CommonRates, cached: float = 0.0
) -> Cost:
    """A training from its start to its averaged model.

    Parameters
    ----------
    plan : epochs and batches.
    student : its rates.
    common : rates of what all jobs do.
    cached : seconds of audio whose states are cached before.
    """
    learnt, judged = plan.learnt.padded, plan.judged.padded
    epoch = learnt * (student.train + common.read) + judged * (student.valid + common.read)
    before = common.start_train + TRAIN_START + cached * student.cached
    seconds = before + plan.epochs * (epoch + common.epoch)
    size = 4 * student.parameters / MIB
    updates = plan.epochs * plan.learnt.count
    work = f"{updates} updates, {plan.epochs} epochs, {student.parameters / 1e6:.1f} M parameters"
    return Cost(seconds, size * (plan.kept + _KEPT), student.memory, work)


def dump_cost(sizes: Iterable[SetSize], teacher: TeacherRates, common: CommonRates) -> Cost:
    """Targets of some sets.

    Parameters
    ----------
    sizes : of the sets.
    teacher : its rates.
    common : rates of what all jobs do.
    """
    total = sum(one.seconds for one in sizes)
    return Cost(
        common.start_teacher + teacher.load + total * (teacher.dump + common.read),
        total * teacher.bytes_per_second / MIB,
        teacher.memory,
        f"{total / 3600:.2f} h of audio",
    )


def stored_bytes(codec: Mapping[str, Any], width: int) -> float:
    """What a state takes on disk, without ids and headers.

    Parameters
    ----------
    codec : of the teacher's file.
    width : of the teacher's states.
    """
    if codec["name"] == "mvq":
        return float(codec.get("codebooks", 16))
    return width * (2.0 if codec["name"] == "fp16" else 4.0)


def decode_cost(sizes: Iterable[SetSize], student: StudentRates, common: CommonRates) -> Cost:
    """Words of some sets.

    Parameters
    ----------
    sizes : of the sets.
    student : its rates.
    common : rates of what all jobs do.
    """
    total = sum(one.seconds for one in sizes)
    return Cost(
        common.start + total * (student.decode + common.read),
        0.0,
        student.memory,
        f"{total / 3600:.2f} h of audio",
    )


def prepare_cost(sizes: Mapping[str, SetSize], common: CommonRates, nj: int) -> StageCost:
    """Every set read once, and what is not mono wav at the right rate written anew.

    Parameters
    ----------
    sizes : by name of the set.
    common : rates of what all jobs do.
    nj : worker processes.
    """
    jobs = {
        f"prepare {name}": Cost(
            common.start_small + one.seconds * common.read + one.converted * common.resample,
            one.converted * PCM / MIB,
            200.0,
            f"{one.seconds / 3600:.2f} h of audio",
        )
        for name, one in sizes.items()
    }
    audio = sum(cost.seconds - common.start_small for cost in jobs.values())
    return StageCost(PREPARE, jobs, len(jobs) * common.start_small + audio / max(1, nj))


def wall_seconds(jobs: Sequence[Job], costs: Mapping[str, Cost], nj: int, cores: float) -> float:
    """How long jobs take that run ``nj`` at a time, in their order, after those they wait for.

    Of more jobs than cores each gets its share of them.

    Parameters
    ----------
    jobs : as ``run_jobs`` takes them.
    costs : by name of the job, for one that runs alone.
    nj : jobs at a time.
    cores : that they share.
    """
    slots = max(1, nj)
    slower = max(1.0, slots / cores)
    waiting, now = list(jobs), 0.0
    ends: dict[str, float] = {}
    running: dict[str, float] = {}
    while waiting or running:
        for job in list(waiting):
            if len(running) == slots:
                break
            if all(ends.get(name, math.inf) <= now for name in job.after):
                waiting.remove(job)
                running[job.name] = now + slower * costs[job.name].seconds
        if not running:
            break  # what they wait for is not among the jobs
        name = min(running, key=lambda one: running[one])
        now = ends[name] = running.pop(name)
    return now


def joined(folders: Mapping[str, Sequence[StageCost]], nj: int, cores: float) -> list[StageCost]:
    """Stages of several folders whose jobs run together.

    Parameters
    ----------
    folders : stages by name of the folder.
    nj : jobs at a time.
    cores : that they share.
    """
    found: dict[str, list[tuple[str, StageCost]]] = {}
    for folder, stages in folders.items():
        for stage in stages:
            found.setdefault(stage.name, []).append((f"{folder}: ", stage))
    return [_joined(name, parts, nj, cores) for name, parts in found.items()]


def _joined(stage: str, parts: Sequence[tuple[str, StageCost]], nj: int, cores: float) -> StageCost:
    costs = {f"{label}{name}": cost for label, one in parts for name, cost in one.jobs.items()}
    after = {
        f"{label}{name}": tuple(f"{label}{other}" for other in one.after.get(name, ()))
        for label, one in parts
        for name in one.jobs
    }
    if stage == PREPARE:  # a folder after the other
        return StageCost(stage, costs, sum(one.wall for _, one in parts), after)
    jobs = [Job(name, (), Path(), after=after[name]) for name in costs]
    return StageCost(stage, costs, wall_seconds(jobs, costs, nj, cores), after)


def table(stages: Sequence[StageCost], jobs: bool = True) -> list[str]:
    """Lines: a stage each with its jobs, and the sum.

    Parameters
    ----------
    stages : in the order of the lines.
    jobs : False leaves the jobs out.
    """
    rows = [("stage", "time", "disk", "memory", "")]
    for stage in stages:
        rows.append(
            (stage.name, readable_time(stage.wall), _size(stage.disk), _size(stage.memory), "")
        )
        for name, cost in stage.jobs.items() if jobs else ():
            rows.append(
                (
                    f"  {name}",
                    readable_time(cost.seconds),
                    _size(cost.disk),
                    _size(cost.memory),
                    cost.work,
                )
            )
    total, disk = sum(one.wall for one in stages), sum(one.disk for one in stages)
    most = max((one.memory for one in stages), default=0.0)
    rows.append(("together", readable_time(total), _size(disk), _size(most), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]


def readable_time(seconds: float) -> str:
    """``40 s``, ``3.2 min``, ``5.1 h``, ``2.3 d``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
