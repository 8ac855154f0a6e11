"""What this machine has: cores, memory, GPUs; torch is asked only where a driver is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from distill_asr.dump.machine import usable_cores

_DRIVERS = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))


@dataclass(frozen=True)
class Machine:
    """Cores that this process may use, memory in GiB, GPUs that torch sees."""

    cores: int
    memory: float
    gpus: int
    gpu: str = ""  # name of the first

    @classmethod
    def this_one(cls) -> Machine:
        """The machine that this process runs on."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        gpus, name = _gpus()
        return cls(usable_cores(), round(pages / 2**30, 1), gpus, name)

    def __str__(self) -> str:
        gpus = f"{self.gpus} GPU(s), {self.gpu}" if self.gpus else "no GPU"
        return f"{self.cores} core(s), {self.memory:g} GiB of memory, {gpus}"


def _gpus() -> tuple[int, str]:
    if not any(driver.exists() for driver in _DRIVERS):
        return 0, ""
    import torch

    count = torch.cuda.device_count()
    return count, torch.cuda.get_device_name(0) if count else ""
