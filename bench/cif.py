"""Integrate-and-fire against the torch-cif package: time and peak memory, forward and backward.

Weights are scaled to the transcript, as in training. Both take turns in one process.

    pip install '.[bench]'
    OMP_NUM_THREADS=1 python bench/cif.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch_cif import cif_function
from tqdm import tqdm
from transducer_loss import peak, timed

from distill_asr.models.cif import integrate_and_fire

GOAL = 2.5  # times as fast as torch-cif


def main() -> int:
    """Print times, memory and their ratios; fail below the goal."""
    options = parse()
    steps = {"torch-cif": make_step(options, theirs), "distill_asr": make_step(options, ours)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in tqdm(range(-2, options.repeats), desc="turns"):
        for name in sorted(steps, reverse=bool(turn % 2)):
            seconds = timed(steps[name], options.device)
            if turn >= 0:  # the first ones warm up
                times[name].append(seconds)
    peaks = {name: peak(step, options.device) for name, step in steps.items()}
    return report(options, times, peaks)


def parse() -> argparse.Namespace:
    """Options; the defaults take some seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def ours(hidden: Tensor, alpha: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    """[B, U, D]."""
    return integrate_and_fire(hidden, alpha, lengths, tokens).states


def theirs(hidden: Tensor, alpha: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    """[B, U, D]."""
    padding = torch.arange(alpha.size(1), device=alpha.device) >= lengths.unsqueeze(1)
    found = cif_function(hidden, alpha, padding_mask=padding, target_lengths=tokens)
    return found["cif_out"][0]


def make_step(options: argparse.Namespace, integrate: Callable[..., Tensor]) -> Callable[[], None]:
    """Tokens of a batch without padding, and gradients of frames and weights."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, options.frames)
    hidden = torch.randn(*shape, options.width, generator=generator)
    alpha = torch.rand(shape, generator=generator) * 2 * options.tokens / options.frames
    gradient = torch.randn(options.batch, options.tokens, options.width, generator=generator)
    hidden, alpha, gradient = (each.to(options.device) for each in (hidden, alpha, gradient))
    lengths = torch.full((options.batch,), options.frames, device=options.device)
    tokens = torch.full((options.batch,), options.tokens, device=options.device)
    hidden.requires_grad_()
    alpha.requires_grad_()

    def step() -> None:
        integrate(hidden, alpha, lengths, tokens).backward(gradient)
        hidden.grad = alpha.grad = None

    return step


def report(
    options: argparse.Namespace, times: dict[str, list[float]], peaks: dict[str, float]
) -> int:
    """Medians, and how many times ours is faster."""
    print(
        f"B {options.batch}, T {options.frames}, D {options.width}, U {options.tokens}: "
        f"{options.device}, {torch.get_num_threads()} thread(s), {options.repeats} turns"
    )
    seconds = {name: statistics.median(values) for name, values in times.items()}
    for name in times:
        print(f"{name:<12}{1000 * seconds[name]:8.1f} ms{peaks[name]:8.1f} MiB")
    faster = seconds["torch-cif"] / seconds["distill_asr"]
    print(f"{faster:.2f} times as fast (goal {GOAL})")
    return 0 if faster >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
