"""What stages took, beside what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_asr.experiments.costs import Forecast, JobCost, note_job, write_forecast
from distill_asr.report.costs import stage_costs


def test_expected_and_taken_side_by_side(tmp_path: Path) -> None:
    jobs = {"dump": [JobCost("dump w", 12.0, 800.0)], "train": [JobCost("train a_seed1", 90, 900)]}
    write_forecast(tmp_path, Forecast(jobs, {"dump": 12.0, "train": 90.0}, 2, 2), [])
    note_job(tmp_path, JobCost("train a_seed1", 100, 950, 1000.0, 1150.0))
    note_job(tmp_path, JobCost("train b_seed2", 50, 900, 1100.0, 1200.0))
    dump, train = stage_costs(tmp_path)
    assert (dump.taken, dump.off) == (None, None)
    assert [job.name for job in train.jobs] == ["train a_seed1", "train b_seed2"]
    assert train.off == pytest.approx(-0.1), "of jobs of which both are known"
    assert train.taken == 200 and train.jobs[1].expected is None


def test_without_records_there_is_no_table(tmp_path: Path) -> None:
    assert stage_costs(tmp_path) == []
