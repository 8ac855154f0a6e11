"""Costs of a recipe's jobs, and those that ``distill-asr plan`` expected; files of ``exp/``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distill_asr.io.files import write_text_atomic

TIMES = Path("logs/times.jsonl")  # below exp/: a line a job that ended
EXPECTED = Path("plan.json")
_TABLE = Path("plan.txt")  # the table that ``plan`` printed; run.sh shows a stage's line of it


@dataclass(frozen=True)
class JobCost:
    """One job.

    Parameters
    ----------
    name : such as ``train baseline_seed1``.
    seconds : of processor time, of all its processes.
    memory : MiB of its largest process.
    begun, ended : seconds since the epoch, when it ran; 0 in a forecast.
    done : it succeeded.
    load : programs that wanted a core when it ended, itself included.
    """

    name: str
    seconds: float
    memory: float
    begun: float = 0.0
    ended: float = 0.0
    done: bool = True
    load: float = 0.0

    @property
    def lasted(self) -> float:
        """Seconds on the clock."""
        return self.ended - self.begun


@dataclass(frozen=True)
class Forecast:
    """What was expected: jobs by stage, seconds on the clock by stage, and for how many cores."""

    stages: Mapping[str, list[JobCost]]
    lasting: Mapping[str, float]
    cores: float
    together: int


def note_job(exp: Path, cost: JobCost) -> None:
    """Append what a job took."""
    file = exp / TIMES
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(cost)) + "\n")


def read_jobs(exp: Path) -> dict[str, JobCost]:
    """What each job took that succeeded, by its name.

    Runs that failed count with the run that succeeded after them. Of several that succeeded the
    longest counts, as the others found the work done.
    """
    found: dict[str, JobCost] = {}
    failed: dict[str, JobCost] = {}
    for one in _lines(exp / TIMES):
        before = failed.pop(one.name, None)
        whole = one if before is None else _both(before, one)
        if not one.done:
            failed[one.name] = whole
        elif one.name not in found or whole.seconds > found[one.name].seconds:
            found[one.name] = whole
    return found


def write_forecast(exp: Path, forecast: Forecast, table: Iterable[str]) -> None:
    """Keep a forecast beside the experiments.

    Parameters
    ----------
    exp : the recipe's ``exp``.
    forecast : of its jobs.
    table : lines of the same for people.
    """
    stages = {name: [asdict(job) for job in jobs] for name, jobs in forecast.stages.items()}
    content = asdict(forecast) | {"stages": stages}
    write_text_atomic(exp / EXPECTED, json.dumps(content, indent=1) + "\n")
    write_text_atomic(exp / _TABLE, "".join(f"{line}\n" for line in table))


def read_forecast(exp: Path) -> Forecast | None:
    """The last forecast of a recipe; None if it is missing or cannot be read."""
    try:
        content = json.loads((exp / EXPECTED).read_text(encoding="utf-8"))
        stages = {
            str(name): [JobCost(**job) for job in jobs] for name, jobs in content["stages"].items()
        }
        return Forecast(stages, content["lasting"], content["cores"], content["together"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def clock(jobs: Iterable[JobCost]) -> float:
    """Seconds on the clock in which any of the jobs ran; breaks between them do not count."""
    total, until = 0.0, 0.0
    for job in sorted(jobs, key=lambda one: one.begun):
        total += max(0.0, job.ended - max(job.begun, until))
        until = max(until, job.ended)
    return total


def _both(first: JobCost, second: JobCost) -> JobCost:
    return replace(
        second,
        seconds=first.seconds + second.seconds,
        memory=max(first.memory, second.memory),
        begun=second.begun - first.lasted,
    )


def _lines(file: Path) -> list[JobCost]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            row: dict[str, Any] = json.loads(line)
            found.append(JobCost(**row))
        except (ValueError, TypeError):
            continue  # cut off by a kill
    return found


def peak_mib(kilobytes: int) -> float:
    """MiB of ``ru_maxrss``, which Linux counts in KiB and macOS in bytes."""
    return kilobytes / (2**20 if os.uname().sysname == "Darwin" else 1024)
