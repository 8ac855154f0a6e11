"""A dump of many short clips: what start-up, work on each clip and writing add to the model.

Clips of 0.4 to 2 s go through what `distill-asr dump` runs, in this process and on one thread, then
a part of them through the plain loop. Times are the processor's. The model is the library's forward
pass; all else is what the dump adds. With the tiny shape there is hardly any model, so that a run of
10,000 clips gives the cost of a clip; with the base shape fewer clips give its share.

    OMP_NUM_THREADS=1 python bench/dump_short.py --shape tiny --clips 10000
    OMP_NUM_THREADS=1 python bench/dump_short.py --clips 200
"""  # noqa: E501

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from dump_speech import PlainLoop, make_teacher

from distill_asr.data.datadir import DataDir
from distill_asr.dump.loaded import facts
from distill_asr.dump.run import dump_sets
from distill_asr.dump.source import AudioSource
from distill_asr.dump.workers import ThisProcess, call
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.precision import has_bfloat16
from distill_asr.targets.shards import ShardWriter
from distill_asr.teachers.speech import SpeechTeacher
from distill_asr.testing.data_dirs import write_data_dir

WHOLE = 10_000  # clips, for which shares are predicted
LIMIT = 0.1  # of the whole, for all that is not the model; with the base shape


def main() -> int:
    """Print where the time goes, and rates; 1 where the dump adds too much to the base shape."""
    options = parse()
    times = Times()
    _ = transformers.HubertModel  # imports what a dump does
    times.mark("imported")
    with tempfile.TemporaryDirectory(dir=options.scratch) as directory:
        root = Path(directory)
        config = make_teacher(root / "model", options)
        seconds = np.random.default_rng(0).uniform(*options.seconds, options.clips)
        lengths = {f"clip{i:06d}": int(s * SAMPLE_RATE) for i, s in enumerate(seconds)}
        data = DataDir.read(write_data_dir(root / "clips", lengths))
        dumped(data, config, times)
        some = dict(list(data.wav.items())[: options.plain])
        loop = PlainLoop(config.model, options)
        loop.run(dict(list(some.items())[:10]))  # warms up
        begin = time.process_time()
        loop.run(some)
        plain = len(some) / (time.process_time() - begin)
    return report(times, plain, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=float, nargs=2, default=(0.4, 2.0))
    parser.add_argument("--shape", choices=("base", "large", "tiny"), default="base")
    parser.add_argument("--plain", type=int, default=100, help="clips of the plain loop")
    parser.add_argument("--batch-seconds", type=float, default=10.0)
    parser.add_argument("--scratch", help="where the files are made")
    options = parser.parse_args()
    options.model, options.device, options.compile = "hubert", "cpu", False
    options.dtype = "bfloat16" if has_bfloat16("cpu") else "float32"
    return options


class Times:
    """Seconds of the processor by part of the dump, and when its stages began."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = defaultdict(list)
        self.marks: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """Note how much this process has taken so far; the first time counts."""
        self.marks.setdefault(stage, time.process_time())

    def between(self, first: str, last: str) -> float:
        """Seconds from one mark to another."""
        return self.marks[last] - self.marks[first]

    def of(self, part: str) -> float:
        """Seconds of all calls."""
        return sum(self.parts[part])

    @contextmanager
    def of_calls(self, owner: type, name: str, part: str) -> Iterator[None]:
        """Count what a method takes in its own thread."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.mark(f"first {part}")
            begin = time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.parts[part].append(time.thread_time() - begin)

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, original)


def dumped(data: DataDir, config: Any, times: Times) -> None:
    """Dump the clips as the command does with one worker."""
    times.mark("teacher")
    with closing(ThisProcess(config, "cpu", torch.get_num_threads())) as workers, ExitStack() as on:
        call(workers, facts)
        watched = {
            (transformers.HubertModel, "forward"): "model",
            (SpeechTeacher, "states"): "states",
            (AudioSource, "read"): "reading",
            (ShardWriter, "write"): "writing",
        }
        for (owner, name), part in watched.items():
            on.enter_context(times.of_calls(owner, name, part))
        times.mark("dump")
        dump_sets([data], "hubert", config, workers, shard_utts=500, tolerance=float("inf"))
        times.mark("end")


def report(times: Times, plain: float, options: argparse.Namespace) -> int:
    """Milliseconds a clip of each part, their shares, and clips a second."""
    clips = options.clips
    loading = times.marks["imported"] + times.between("teacher", "dump")
    parts = {
        "model": times.of("model"),
        "the teacher around it": times.of("states") - times.of("model"),
        "reading audio": times.of("reading"),
        "checks, before the first batch": times.between("dump", "first states"),
        "encoding and writing": times.of("writing"),
    }
    parts["all else"] = times.between("dump", "end") - sum(parts.values())
    whole = loading * clips / WHOLE + sum(parts.values())
    print(
        f"{clips} clips of {options.seconds[0]:g} to {options.seconds[1]:g} s, {options.shape} "
        f"shape, {options.dtype}; start-up {loading:.1f} s; seconds of the processor"
    )
    print(f"{f'start-up, shared by {WHOLE}':<36}{1000 * loading / WHOLE:8.2f} ms a clip"
          f"{100 * loading * clips / WHOLE / whole:8.1f} %")  # fmt: skip
    for part, seconds in parts.items():
        print(f"{part:<36}{1000 * seconds / clips:8.2f} ms a clip{100 * seconds / whole:8.1f} %")
    share = 1 - parts["model"] / whole
    print(f"plain loop {plain:8.1f} clips/s")
    print(f"ours       {clips / whole:8.1f} clips/s, ratio {clips / whole / plain:.2f}")
    print(f"all but the model {100 * share:.1f} %, limit with the base shape {100 * LIMIT:g} %")
    return int(options.shape != "tiny" and share > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
