"""The transducer loss, whole and in parts, against torchaudio's: time and peak memory.

One forward and backward pass of the joint network and the loss. The budgets are fractions of what
the logits of the whole batch take; all take turns in one process. Seconds of a CPU are the
processor's.

    OMP_NUM_THREADS=1 python bench/transducer_loss.py
    OMP_NUM_THREADS=1 python bench/transducer_loss.py --vocabulary 500
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torchaudio.functional import rnnt_loss
from tqdm import tqdm

from distill_asr.models.students import joint_loss
from distill_asr.models.students.joint_loss import FLOAT32, Lattice, transducer_loss

PARTS = (0, 1, 2, 4, 16)  # one over the fraction; 1 is the whole batch, 0 with torchaudio's loss
THEIRS = SimpleNamespace(apply=lambda *arguments: rnnt_loss(*arguments, reduction="none"))
M_MMAP_THRESHOLD = -3  # of glibc's mallopt


def main() -> int:
    """Print one line a budget."""
    options = parse()
    logits_mb = FLOAT32 * options.batch * options.frames * (options.tokens + 1)
    logits_mb *= options.vocabulary / 2**20
    steps = {parts: make_step(options, logits_mb / max(parts, 1)) for parts in PARTS}
    plain = steps[0]

    def theirs() -> None:
        with patch.object(joint_loss, "LatticeLoss", THEIRS):
            plain()

    steps[0] = theirs
    times: dict[int, list[float]] = {parts: [] for parts in PARTS}
    for turn in tqdm(range(-1, options.repeats), desc="turns"):
        for parts in sorted(PARTS, reverse=bool(turn % 2)):
            seconds = timed(steps[parts], options.device)
            if turn >= 0:  # the first ones warm up
                times[parts].append(seconds)
    peaks = {parts: peak(step, options.device) for parts, step in steps.items()}
    report(options, logits_mb, times, peaks)
    return 0


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=150, help="of the longest utterance")
    parser.add_argument("--tokens", type=int, default=30, help="of the longest utterance")
    parser.add_argument("--vocabulary", type=int, default=250)
    parser.add_argument("--width", type=int, default=256, help="of the joint network")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def make_step(options: argparse.Namespace, budget_mb: float) -> Callable[[], None]:
    """Loss and gradients of a batch whose lengths go down to half of the longest."""
    from espnet2.asr_transducer.joint_network import JointNetwork

    torch.manual_seed(0)
    size, device = options.batch, torch.device(options.device)
    joint = JointNetwork(options.vocabulary, 144, 256, options.width).to(device)
    encoded = torch.randn(size, options.frames, 144, device=device, requires_grad=True)
    predicted = torch.randn(size, options.tokens + 1, 256, device=device, requires_grad=True)
    share = torch.linspace(1, 0.5, size)
    lattice = Lattice(
        torch.randint(1, options.vocabulary, (size, options.tokens), device=device),
        (options.frames * share).round().long().to(device),
        (options.tokens * share).round().long().to(device),
        blank=0,
    )

    def step() -> None:
        transducer_loss(joint, encoded, predicted, lattice, budget_mb).backward()
        for tensor in (encoded, predicted, *joint.parameters()):
            tensor.grad = None

    return step


def timed(step: Callable[[], None], device: str) -> float:
    """Seconds of a step."""
    clock = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
    synchronize(device)
    begin = clock()
    step()
    synchronize(device)
    return clock() - begin


def synchronize(device: str) -> None:
    """Wait for what a GPU still has to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def peak(step: Callable[[], None], device: str) -> float:
    """Most memory during a step over what there was before, in MiB."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # every large block straight from the system, and back to it when freed
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**16)
    step()
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what there is now
    before = resident("VmRSS")
    step()
    return (resident("VmHWM") - before) / 2**20


def resident(field: str) -> int:
    """Bytes that the kernel reports about this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def report(
    options: argparse.Namespace,
    logits_mb: float,
    times: dict[int, list[float]],
    peaks: dict[int, float],
) -> None:
    """Medians, and their ratios to torchaudio's loss."""
    print(
        f"B {options.batch}, T {options.frames}, U {options.tokens}, V {options.vocabulary}: "
        f"logits {logits_mb:.0f} MiB; {options.device}, {torch.get_num_threads()} thread(s), "
        f"{options.repeats} turns"
    )
    seconds = {parts: statistics.median(values) for parts, values in times.items()}
    for parts in PARTS:
        name = {0: "torchaudio", 1: "whole"}.get(parts) or f"budget {logits_mb / parts:.0f} MiB"
        print(
            f"{name:<16}{1000 * seconds[parts]:7.0f} ms ({seconds[parts] / seconds[0]:.2f})"
            f"{peaks[parts]:8.0f} MiB ({peaks[parts] / peaks[0]:.2f})"
        )


if __name__ == "__main__":
    sys.exit(main())
