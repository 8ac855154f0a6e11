"""What jobs took, as the report and ``plan`` read it."""

from __future__ import annotations

from pathlib import Path

from distill_asr.experiments.costs import (
    TIMES,
    Forecast,
    JobCost,
    clock,
    note_job,
    read_forecast,
    read_jobs,
    write_forecast,
)


def cost(seconds: float, begun: float, ended: float, done: bool = True) -> JobCost:
    return JobCost("train a_seed1", seconds, 900.0, begun, ended, done)


def test_a_killed_run_counts_with_the_one_that_continued_it(tmp_path: Path) -> None:
    note_job(tmp_path, cost(50, 0, 60, done=False))
    note_job(tmp_path, cost(30, 100, 140))
    note_job(tmp_path, cost(4, 200, 205))  # found it done
    with open(tmp_path / TIMES, "a", encoding="utf-8") as lines:
        lines.write('{"name": "train a_s')  # cut off
    (found,) = read_jobs(tmp_path).values()
    assert (found.seconds, found.lasted) == (80, 100)


def test_nothing_noted_is_no_mistake(tmp_path: Path) -> None:
    assert read_jobs(tmp_path) == {} and read_forecast(tmp_path) is None
    (tmp_path / "plan.json").write_text("[]")
    assert read_forecast(tmp_path) is None


def test_a_forecast_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = Forecast({"train": [JobCost("train a", 10.0, 900.0)]}, {"train": 12.0}, 2, 2)
    write_forecast(tmp_path, made, ["stage"])
    assert read_forecast(tmp_path) == made


def test_clock_counts_no_break_and_nothing_twice() -> None:
    assert clock([cost(1, 0, 10), cost(1, 5, 20), cost(1, 100, 101)]) == 21
    assert clock([]) == 0
