"""Processor time of a call."""

from __future__ import annotations

import time

import torch

from distill_asr.start.probe import processor_seconds


def test_twice_the_work_takes_about_twice() -> None:
    matrix = torch.randn(256, 256)

    def work(times: int) -> None:
        for _ in range(times):
            matrix @ matrix

    once, twice = (processor_seconds(lambda n=n: work(n), 7) for n in (20, 40))
    assert 1.5 < twice / once < 2.7


def test_waiting_is_no_work() -> None:
    assert processor_seconds(lambda: time.sleep(0.02), 3) < 0.01
