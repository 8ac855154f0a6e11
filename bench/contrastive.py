"""The contrastive loss by one N x N product against a gather of negatives, forward and backward.

The published form gathers [N, K, E] teacher states. Both get the same negatives.

    OMP_NUM_THREADS=1 python bench/contrastive.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transducer_loss import peak, timed

from distill_asr.distill.losses.contrastive import COSINE_EPS, Contrastive, draw_negatives

GOAL = 50.0  # times as fast as the gather
TEMPERATURE = 0.02


def main() -> int:
    """Print times, memory and their ratios; fail below the goal."""
    options = parse()
    torch.manual_seed(0)
    student, teacher = (torch.randn(options.pairs, options.width) for _ in range(2))
    ids = draw_negatives(options.pairs, options.negatives, torch.device("cpu"))
    student, teacher, ids = (each.to(options.device) for each in (student, teacher, ids))
    student.requires_grad_()
    loss = Contrastive(TEMPERATURE, options.negatives)
    forms = {
        "gather": lambda: gathered(student, teacher, ids),
        "product": lambda: loss(student, teacher, negative_ids=ids),
    }
    with torch.no_grad():
        torch.testing.assert_close(forms["gather"](), forms["product"](), rtol=1e-4, atol=1e-4)
    steps = {name: make_step(student, form) for name, form in forms.items()}
    turns = {"gather": 1, "product": options.repeats}
    times = {name: measure(steps[name], turns[name], options.device) for name in steps}
    peaks = {name: peak(step, options.device) for name, step in steps.items()}
    return report(options, times, peaks)


def parse() -> argparse.Namespace:
    """Options; the defaults take a minute or two and 9 GB."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=956)
    parser.add_argument("--negatives", type=int, default=700)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=20, help="of the product")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def gathered(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
    """[N], from the negatives of each pair side by side, [N, K, E]."""
    candidates = torch.cat([teacher.unsqueeze(1), teacher[ids]], dim=1)
    similarity = nn.functional.cosine_similarity(
        student.unsqueeze(1), candidates, dim=-1, eps=COSINE_EPS
    )
    own = torch.arange(len(ids), device=ids.device).unsqueeze(1)
    itself = nn.functional.pad(ids == own, (1, 0))
    logits = (similarity / TEMPERATURE).masked_fill(itself, float("-inf"))
    return logits.logsumexp(dim=1) - logits[:, 0]


def make_step(student: Tensor, form: Callable[[], Tensor]) -> Callable[[], None]:
    """Loss and the student's gradient."""

    def step() -> None:
        form().sum().backward()
        student.grad = None

    return step


def measure(step: Callable[[], None], turns: int, device: str) -> list[float]:
    """Seconds of each turn after one that warms up."""
    return [timed(step, device) for _ in tqdm(range(turns + 1))][1:]


def report(
    options: argparse.Namespace, times: dict[str, list[float]], peaks: dict[str, float]
) -> int:
    """Medians, and how many times the product is faster."""
    print(
        f"N {options.pairs}, K {options.negatives}, E {options.width}: {options.device}, "
        f"{torch.get_num_threads()} thread(s)"
    )
    seconds = {name: statistics.median(values) for name, values in times.items()}
    for name in times:
        print(f"{name:<10}{1000 * seconds[name]:10.1f} ms{peaks[name]:10.1f} MiB")
    faster = seconds["gather"] / seconds["product"]
    memory = peaks["gather"] / peaks["product"]
    print(f"{faster:.0f} times as fast (goal {GOAL:.0f}), 1/{memory:.0f} of the memory")
    return 0 if faster >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
