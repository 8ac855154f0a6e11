"""Processor time as an idle machine would take it, measured on a busy one.

Other programs slow each second of processor time down: they empty the caches and share the memory
and often the core. A short product of matrices, run many times between the measured calls, shows
by how much: its fastest runs fall between the others' turns and last as long as on an idle machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

SIZE, _AT_ONCE = 192, 5  # of the matrices, and products in a run: about a millisecond
RUNS = 60  # before each call and after the last one


class Reference:
    """How slow the machine is now; all references of a process share the fastest run."""

    _fastest = float("inf")

    def __init__(self) -> None:
        self._matrix = torch.full((SIZE, SIZE), 0.5)
        self._times: list[float] = []

    def run(self) -> None:
        """Add some runs."""
        for _ in range(RUNS):
            begin = time.process_time()
            for _ in range(_AT_ONCE):
                self._matrix @ self._matrix
            self._times.append(time.process_time() - begin)
        Reference._fastest = min(Reference._fastest, *self._times)

    @property
    def slowdown(self) -> float:
        """Mean run over the fastest one; 1 on an idle machine."""
        return max(1.0, statistics.fmean(self._times) / max(Reference._fastest, 1e-9))


def idle_seconds(work: Callable[[], object], times: int, warm: bool = True) -> float:
    """Processor time of a call on an idle machine: the median of some, less the slowdown.

    Parameters
    ----------
    work : the call; runs in as many threads as torch has, which should be one.
    times : calls that are measured.
    warm : call it once before.
    """
    if warm:
        work()
    reference = Reference()
    spent = []
    for _ in range(times):
        reference.run()
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    reference.run()
    return statistics.median(spent) / reference.slowdown
