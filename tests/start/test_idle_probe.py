"""Processor time as an idle machine would take it."""

from __future__ import annotations

import pytest
import torch

from distill_asr.start.probe import Reference, idle_seconds


def test_twice_the_work_takes_about_twice() -> None:
    matrix = torch.randn(256, 256)

    def work(times: int) -> None:
        for _ in range(times):
            matrix @ matrix

    once, twice = (idle_seconds(lambda n=n: work(n), 7) for n in (20, 40))
    assert 1.5 < twice / once < 2.7


def test_a_slowed_machine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference()
    reference.run()
    monkeypatch.setattr(Reference, "_fastest", Reference._fastest / 2)
    assert reference.slowdown >= 2.0
