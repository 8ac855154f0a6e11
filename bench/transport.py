"""Transport plans of a batch at once against POT, an utterance at a time, and the matchers' cost.

The plans are compared first. Then what `match: aligned` and `match: transport` take for a batch is
set against `match: shrink`.

With ``--step`` whole training steps of a small CTC student (4 conformer blocks of 128, 40 ms a
frame) are timed instead, plain and with each matcher.

    OMP_NUM_THREADS=1 python bench/transport.py
    OMP_NUM_THREADS=1 python bench/transport.py --step --batch 8 --frames 250 --positions 30
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import ot
import torch
from torch import Tensor

from distill_asr.distill.contracts import Matcher
from distill_asr.distill.matching import MATCHERS
from distill_asr.distill.matching.optimal_transport import sinkhorn, uniform_masses
from distill_asr.distill.states import Context, States
from distill_asr.testing.students import tiny_batch, tiny_student

EPSILON, ITERATIONS = 0.1, 20
VOCABULARY = 240
MATCHERS_TIMED: dict[str, dict[str, object]] = {
    "plain": {}, "shrink": {}, "aligned": {}, "transport": {}, "transport, graph": {"graph": 0.3},
}  # fmt: skip
BLOCKS = {
    "output_size": 128, "attention_heads": 4, "linear_units": 512, "num_blocks": 4,
    "input_layer": "conv2d", "cnn_module_kernel": 15,
}  # fmt: skip
TOLERANCE = 1e-6  # between both plans


def main() -> int:
    """Print times and ratios; 1 where the plans differ."""
    options = parse()
    if options.step:
        steps(options)
        return 0
    generator = torch.Generator().manual_seed(0)
    shape = options.batch, options.frames, options.positions
    cost = torch.rand(shape, generator=generator)
    lengths = [
        torch.randint(size // 2, size + 1, (options.batch,), generator=generator)
        for size in shape[1:]
    ]
    masses = [uniform_masses(*pair) for pair in zip(lengths, shape[1:], strict=True)]
    found = sinkhorn(cost, *masses, EPSILON, ITERATIONS)
    expected = by_pot(cost, *masses, *lengths)
    error = float((found - expected).abs().max())
    arms = {
        "POT, one by one": lambda: by_pot(cost, *masses, *lengths),
        "ours, the batch": lambda: sinkhorn(cost, *masses, EPSILON, ITERATIONS),
    }
    seconds = alternately(arms, options.repeats)
    pot, ours = seconds.values()
    print(f"plans of {shape}, {ITERATIONS} iterations, within {error:.1e} of POT's")
    print(f"POT {1000 * pot:.0f} ms, ours {1000 * ours:.0f} ms: {pot / ours:.2f} times as fast")
    matchers(options, lengths)
    return int(not error < TOLERANCE)


def parse() -> argparse.Namespace:
    """Options; the defaults take half a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--positions", type=int, default=60)
    parser.add_argument("--step", action="store_true", help="whole training steps")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=10)
    return parser.parse_args()


def by_pot(cost: Tensor, source: Tensor, target: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The same plans from POT's log-domain Sinkhorn, padded with zeros."""
    plans = torch.zeros_like(cost)
    for i, (t, s) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        plans[i, :t, :s] = ot.bregman.sinkhorn_log(
            source[i, :t], target[i, :s], cost[i, :t, :s], EPSILON,
            numItermax=ITERATIONS, stopThr=0.0, warn=False,
        )  # fmt: skip
    return plans


def matchers(options: argparse.Namespace, lengths: list[Tensor]) -> None:
    """Time matchers on one batch, in which every transcript can be decoded."""
    frames, positions = lengths
    student = torch.randn(options.batch, options.frames, options.width)
    teacher = torch.randn(options.batch, options.positions, options.width)
    ids = torch.randint(2, 40, (options.batch, options.positions))
    logits = torch.randn(options.batch, options.frames, 40)
    context = Context(
        taps={"ctc": States(logits, frames, 40.0)}, token_ids=ids, token_lengths=positions - 1
    )
    sides = States(student, frames, 40.0), States(teacher, positions, None)
    made: dict[str, Matcher] = {
        name: MATCHERS[name](**conf)
        for name, conf in (
            ("shrink", {"special_tokens": "drop"}),
            ("aligned", {}),
            ("transport", {}),
        )
    }
    made["transport, graph"] = MATCHERS["transport"](graph=0.3)
    arms = {name: (lambda one=one: one(*sides, context)) for name, one in made.items()}
    seconds = alternately(arms, options.repeats)
    for name, taken in seconds.items():
        ratio = taken / seconds["shrink"]
        print(f"match: {name:<18}{1000 * taken:8.1f} ms a batch, {ratio:.2f} times shrink")


def steps(options: argparse.Namespace) -> None:
    """Time steps, forward and backward, on one batch of noise."""
    batch = noise(options)
    arms = {}
    for name, conf in MATCHERS_TIMED.items():
        match = {"match": name.partition(",")[0], "match_conf": conf}
        block = {"teacher": "teacher", "tap": "encoder", "loss": "mse", **match}
        student = tiny_student(
            distill={} if name == "plain" else {"text": block},
            teachers={"teacher": {"width": options.width, "step_ms": None}},
            token_list=[f"t{i}" for i in range(VOCABULARY)], encoder_conf=BLOCKS,
            decoder=None, decoder_conf={}, model_conf={"ctc_weight": 1.0},
        ).train()  # fmt: skip
        arms[name] = lambda student=student: student(**batch)[0].backward()
    seconds = alternately(arms, options.repeats)
    for name, taken in seconds.items():
        print(
            f"{name:<18}{1000 * taken:8.0f} ms a step, {taken / seconds['plain']:.3f} times plain, "
            f"{taken / seconds['shrink']:.3f} times shrink"
        )


def noise(options: argparse.Namespace) -> dict[str, object]:
    """A batch of noise of ``frames`` of 40 ms, with transcripts and the states of their tokens."""
    samples = [round(640 * options.frames * (1 - i / 50)) for i in range(options.batch)]
    batch = tiny_batch(samples, {"teacher": options.width})
    tokens = options.positions - 2
    counts = torch.full((options.batch,), tokens)
    text = torch.randint(3, VOCABULARY - 1, (options.batch, tokens))
    states = torch.randn(options.batch, options.positions, options.width)
    return batch | {
        "text": text, "text_lengths": counts,
        "targets_teacher": states, "targets_teacher_lengths": counts + 2,
    }  # fmt: skip


def alternately(arms: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor seconds of each arm, which take turns after one turn to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + 1):
        for name, arm in arms.items():
            begin = time.process_time()
            arm()
            if turn:
                taken[name].append(time.process_time() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
