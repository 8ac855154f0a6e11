"""What a worker does with the machine it runs on: cores, threads, memory."""

from __future__ import annotations

import ctypes
import os
import sys

# of mallopt(3)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST = (1 << 31) - 1


def default_threads(workers: int) -> int:
    """Threads of each of ``workers`` on this machine: OMP_NUM_THREADS, or a share of the cores."""
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(given) > 0:
        return int(given)
    return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Cores that this process may use; a batch system may have given it a few only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def settle(threads: int) -> None:
    """Use so many threads from now on, and keep memory that was used before."""
    if "torch" in sys.modules:  # a user's own teacher may do without
        import torch

        torch.set_num_threads(threads)
    _keep_memory()


def _keep_memory() -> None:
    """Have glibc keep large blocks instead of asking the kernel for fresh pages at every layer.

    Teachers' arrays are tens of MiB, which it would otherwise map and unmap each time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # else another C library
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
