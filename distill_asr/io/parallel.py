"""Independent pieces of work in several processes, results in order, with a progress bar."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
_Result = TypeVar("_Result")

_WORTH_A_PROCESS = 50  # items; starting the workers takes longer than fewer


def parallel_map(
    work: Callable[[Item], _Result], items: Sequence[Item], nj: int, description: str
) -> list[_Result]:
    """``[work(item) for item in items]`` in several processes.

    Parameters
    ----------
    work : a function that can be pickled.
    items : its arguments; few of them stay in this process.
    nj : processes; 1 for this one.
    description : of the progress bar.
    """
    from distill_asr.io.progress import Bar

    with Bar(total=len(items), desc=description, unit="utt", mininterval=1) as bar:
        results = []
        if nj <= 1 or len(items) < _WORTH_A_PROCESS:
            for item in items:
                results.append(work(item))
                bar.update()
            return results
        # spawn: a forked child of a process with threads (torch, BLAS) may hang
        pool = ProcessPoolExecutor(nj, mp_context=get_context("spawn"))
        try:
            for result in pool.map(work, items, chunksize=25):
                results.append(result)
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    return results
