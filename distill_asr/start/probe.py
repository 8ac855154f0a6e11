"""Processor time of a call, which a run on the same machine takes again.

It is not brought to that of an idle machine: even there a short product of matrices takes 1.2 times
its fastest run in the mean (hosts share their processors), so its fastest runs promise too much.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def processor_seconds(work: Callable[[], object], times: int, warm: bool = True) -> float:
    """Processor time of a call in seconds: the median of some.

    Parameters
    ----------
    work : the call; runs in as many threads as torch has, which should be one.
    times : calls that are measured.
    warm : call it once before.
    """
    if warm:
        work()
    spent = []
    for _ in range(times):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return statistics.median(spent)
