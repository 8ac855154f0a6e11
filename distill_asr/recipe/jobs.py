"""Runs commands that depend on each other, several at a time, each with a log and one line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.experiments.costs import JobCost, note_job, peak_mib

LAST_LINES = 15  # of the log of a job that failed
PROGRESS = re.compile(r"\d+%\|")  # a bar


@dataclass(frozen=True)
class Job:
    """One command.

    Parameters
    ----------
    name : unique; what its line begins with.
    command : program and arguments.
    log : where its output goes; relative to ``folder``.
    folder : where it runs.
    after : names of the jobs that must have succeeded.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    folder: Path = Path()
    after: tuple[str, ...] = ()

    def typed(self) -> str:
        """What to type to run it by hand."""
        line = shlex.join(self.command)
        return line if self.folder == Path() else f"(cd {shlex.quote(str(self.folder))} && {line})"


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended."""

    job: Job
    code: int
    seconds: float

    def last_lines(self, count: int) -> list[str]:
        """The end of its log."""
        path = self.job.folder / self.job.log
        lines = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
        return [line for line in lines if line.strip()][-count:]


def run_jobs(jobs: Sequence[Job], nj: int, say: Callable[[str], None] = print) -> None:
    """Run all, ``nj`` at a time, in their order where nothing is waited for.

    When one fails, no other is started; those that run are waited for.

    Parameters
    ----------
    jobs : names of ``after`` are those of jobs among them.
    nj : jobs at a time.
    say : is given a line for each job that starts and for each that ends.

    Raises
    ------
    UserError : which jobs failed, with the end of their logs.
    """
    waiting = list(jobs)
    running: dict[Future[JobOutcome], Job] = {}
    succeeded: set[str] = set()
    failed: list[JobOutcome] = []
    with ThreadPoolExecutor(nj) as pool:
        while waiting or running:
            ready = [] if failed else [job for job in waiting if succeeded.issuperset(job.after)]
            for job in ready[: nj - len(running)]:
                waiting.remove(job)
                say(job.typed())
                running[pool.submit(_run, job)] = job
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                outcome = future.result()
                say(_line(outcome))
                succeeded |= {outcome.job.name} if outcome.code == 0 else set()
                failed += [outcome] if outcome.code else []
    if failed:
        raise UserError([line for outcome in failed for line in _failure(outcome)])


def _run(job: Job) -> JobOutcome:
    start = time.time()
    log = job.folder / job.log
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        output.write(f"# {job.typed()}\n".encode())
        output.flush()
        process = subprocess.Popen(
            job.command,
            cwd=job.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    end = time.time()
    cost = JobCost(
        job.name.rpartition(": ")[2],
        round(usage.ru_utime + usage.ru_stime, 2),
        round(peak_mib(usage.ru_maxrss)),
        round(start, 2),
        round(end, 2),
        process.returncode == 0,
        round(os.getloadavg()[0], 1),
    )
    note_job(log.parent.parent, cost)
    return JobOutcome(job, process.returncode, end - start)


def _line(outcome: JobOutcome) -> str:
    """One line a job: its name, its time, and the last thing it printed."""
    last = outcome.last_lines(1)[-1] if outcome.code == 0 else "FAILED"
    last = "" if last.startswith("# ") or PROGRESS.search(last) else last
    now = time.strftime("%H:%M:%S")
    return f"{now} {outcome.job.name}: {outcome.seconds:.0f} s; {last}".rstrip("; ")


def _failure(outcome: JobOutcome) -> list[str]:
    path = outcome.job.folder / outcome.job.log
    head = f"{outcome.job.name}: exit code {outcome.code}; its log, {path}, ends:"
    return [head, *(f"    {line}" for line in outcome.last_lines(LAST_LINES))]
