"""Work of a stage besides its jobs: copies a recipe's trained teachers, and prints tables."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.recipe.jobs import Job
from distill_asr.recipe.plan import TEACHERS, Grid, own_teachers
from distill_asr.train_teacher.report import REPORT, read_report, score_lines

READY = Path("teachers")  # trained ones that come with the recipe


def take_teachers(grid: Grid) -> None:
    """Copy the trained teachers that come with the recipe, unless it has trained its own."""
    for teacher in own_teachers(grid):
        ready, place = (grid.folder / root / teacher.name for root in (READY, TEACHERS))
        if not ready.is_dir() or place.is_dir():
            continue
        draft = place.with_name(f".{teacher.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(ready, draft)
        os.replace(draft, place)
        print(f"{place}: taken from {ready}")


def run_scores(jobs: Sequence[Job]) -> None:
    """Run jobs one after the other, and print their output.

    Raises
    ------
    UserError : one failed; its own report gives the reason.
    """
    for job in jobs:
        print(job.typed(), flush=True)
        code = subprocess.run(job.command, cwd=job.folder, check=False).returncode
        if code:
            raise UserError(f"{job.name}: exit code {code}")


def print_teachers(grid: Grid) -> None:
    """Print the error rates of the recipe's own teachers."""
    for teacher in own_teachers(grid):
        place = grid.folder / TEACHERS / teacher.name
        if (place / REPORT).is_file():
            for line in score_lines(read_report(place)):
                print(f"{place}: {line}")
