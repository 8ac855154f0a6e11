"""What distillation adds to a training step of the mini recipe's transducer, targets on disk.

The plain student and the distilled one (two teachers, fp16 targets read through the loader) take
turns on the same batches in one process, so that whatever else the machine does hits both. A step
is ESPnet's iterator, forward, backward, clipping and optimiser.

    OMP_NUM_THREADS=1 python bench/step_overhead.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from distill_asr.data.datadir import DataDir
from distill_asr.data.tokens import write_token_list
from distill_asr.experiments.layout import Experiment
from distill_asr.io.yaml import load_config
from distill_asr.testing.fixtures import make_prepared_dir, write_targets
from distill_asr.train.config import TrainConfig, TrainOptions
from distill_asr.train.training import prepare_training

CONFIG = Path(__file__).parents[1] / "conf/student/transducer_1m.yaml"
TEACHERS = ("hubert", "wavlm")
LIMIT = 1.10  # distilled over plain
CHARACTERS_PER_SECOND = 13  # of read English


def main() -> int:
    """Print the median step times and their ratio; 1 where it is over the limit."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        tokens = make_data(root / "train", options)
        plain = load_config(CONFIG, [f"token_list={tokens}", f"num_workers={options.num_workers}"])
        blocks = {t: {"teacher": t, "tap": "encoder", "match": "frame", "loss": "l1"}
                  for t in TEACHERS}  # fmt: skip
        steps = {
            name: make_steps(config, root / "train", root / name)
            for name, config in (("plain", plain), ("distilled", plain | {"distill": blocks}))
        }
        times = measure(steps, options.repeats)
    return report(times, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take about two minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=160)
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 3.0))
    parser.add_argument("--width", type=int, default=128, help="of each teacher's targets")
    parser.add_argument("--repeats", type=int, default=60, help="steps of each student")
    # 0: reading is part of the step and cannot hide in another process
    parser.add_argument("--num-workers", type=int, default=0)
    return parser.parse_args()


def make_data(path: Path, options: argparse.Namespace) -> Path:
    """A prepared dir with transcripts of realistic length and two teachers' targets."""
    make_prepared_dir(path, options.utterances, tuple(options.seconds))
    data, rng = DataDir.read(path), np.random.default_rng(0)
    letters = list("etaoinshrdlucmfwypvbgkjqxz  ")
    text = {}
    for utterance, samples in data.num_samples.items():
        count = round(samples / 16000 * CHARACTERS_PER_SECOND)
        text[utterance] = "a" + " ".join("".join(rng.choice(letters, count)).split())
    replace(data, text=text).write(path)
    for seed, teacher in enumerate(TEACHERS):
        write_targets(path, teacher, width=options.width, step_ms=20.0, seed=seed, shard_utts=200,
                      codec={"name": "fp16"}, weights_sha256=str(seed) * 64)  # fmt: skip
    write_token_list(text.values(), path.parent / "tokens.txt", "char")
    return path.parent / "tokens.txt"


def make_steps(config: dict, data: Path, output: Path) -> Callable[[], None]:
    """A student built as ``distill-asr train`` builds it; each call is one training step."""
    from espnet2.train.distributed_utils import DistributedOption

    from distill_asr.espnet.task import DistillTask

    read = TrainConfig.parse(config, str(CONFIG))
    sets = TrainOptions((str(CONFIG),), (str(data),), (str(data),), Experiment(output))
    args = DistillTask.get_parser().parse_args(prepare_training(read, sets))
    torch.manual_seed(args.seed)
    student = DistillTask.build_model(args).train()
    (optimiser,) = DistillTask.build_optimizers(args, student)
    batches = endless(DistillTask.build_iter_factory(args, DistributedOption(), "train"))

    def step() -> None:
        utterances, batch = next(batches)
        loss, _, _ = student(**batch, utt_id=utterances)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), args.grad_clip)
        optimiser.step()
        optimiser.zero_grad()

    return step


def endless(factory) -> Iterator:
    """Batches of one epoch after the other; same seed, same batches."""
    epoch = 0
    while True:
        epoch += 1
        yield from factory.build_iter(epoch)


def measure(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step; the students take turns at going first."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in tqdm(range(-4, repeats), desc="steps"):
        for name in sorted(steps, reverse=number % 2 == 0):
            begin = time.perf_counter()
            steps[name]()
            if number >= 0:  # the first ones warm up
                times[name].append(time.perf_counter() - begin)
    return times


def report(times: dict[str, list[float]], options: argparse.Namespace) -> int:
    """Medians, their ratio, and the middle half of the ratios of single turns."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["distilled"] / medians["plain"]
    turns = np.divide(times["distilled"], times["plain"])
    low, middle, high = np.quantile(turns, [0.25, 0.5, 0.75])
    shortest, longest = options.seconds
    print(
        f"{options.utterances} utterances of {shortest} to {longest} s, {len(TEACHERS)} teachers "
        f"of width {options.width}, {options.repeats} steps each, "
        f"{torch.get_num_threads()} thread(s)"
    )
    for name, median in medians.items():
        print(f"{name:<10}{1000 * median:8.0f} ms a step (median)")
    print(f"ratio     {ratio:8.3f}, limit {LIMIT}; single turns: median {middle:.3f}, "
          f"middle half {low:.3f} to {high:.3f}")  # fmt: skip
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
