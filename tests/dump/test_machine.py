"""Threads of a worker."""

import pytest

from distill_asr.dump import machine


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    for given, expected in (("3", [3, 3, 3]), ("", [8, 2, 1]), ("all", [8, 2, 1])):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert [machine.default_threads(workers) for workers in (1, 4, 20)] == expected


def test_cores_of_this_process() -> None:
    assert machine.usable_cores() >= 1
