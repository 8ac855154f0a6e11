"""The start of a training on many hours: what it takes before the first batch, beyond ESPnet's import.

A prepared directory of as many utterances as a corpus of that many hours has (12.4 s each), with
transcripts and the targets of one teacher; files and targets are short, since their number is what
counts here. Checks, the lists that ESPnet reads, its batches and the index of targets are made in a
process of their own, twice: the first one computes checksums, the next ones know them. The peak of
memory is that above the same start with a hundred utterances.

    OMP_NUM_THREADS=1 python bench/training_start.py --hours 1000
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONFIG = Path(__file__).parents[1] / "conf/student/transducer_1m.yaml"
SECONDS_EACH = 12.4  # of LibriSpeech
LETTERS = list("etaoinshrdlucmfwypvbgkjqxz ")
FILES = 40  # of audio, each with many names
LIMIT_S, LIMIT_MB = 30.0, 500.0


def main() -> int:
    """Print processor seconds and memory of both starts; 1 where the second is over a limit."""
    options = parse()
    if options.start:
        return start(options.start)
    with tempfile.TemporaryDirectory(dir=options.scratch) as directory:
        small, large = Path(directory) / "small", Path(directory) / "large"
        make(small, 100)
        make(large, round(options.hours * 3600 / SECONDS_EACH))
        base = started(small)
        runs = [started(large) for _ in range(1 + options.again)]
    print(f"{options.hours:g} h, {round(options.hours * 3600 / SECONDS_EACH)} utterances")
    for name, run in zip(("first start", *["next start"] * options.again), runs, strict=True):
        more = run["mb"] - base["mb"]
        print(f"{name:<12} {run['seconds']:7.1f} s of the processor  {more:7.0f} MB more")
        for part, seconds in run["parts"].items():
            print(f"  {part:<28}{seconds:7.1f} s")
    print(f"limits of the next starts: {LIMIT_S:g} s, {LIMIT_MB:g} MB")
    return int(runs[-1]["seconds"] > LIMIT_S or runs[-1]["mb"] - base["mb"] > LIMIT_MB)


def parse() -> argparse.Namespace:
    """Options; the defaults take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=100)
    parser.add_argument("--again", type=int, default=1, help="starts after the first one")
    parser.add_argument("--scratch", help="where the files are made")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def make(root: Path, utterances: int) -> None:
    """A prepared directory, its targets, and a small one to validate with."""
    import soundfile

    from distill_asr.data.tokens import write_token_list
    from distill_asr.testing.targets import write_targets

    for name, count in (("train", utterances), ("dev", 10)):
        path, rng = root / name, np.random.default_rng(0)
        (path / "wav").mkdir(parents=True)
        ids = [f"{name}-spk{i // 100:04d}-{i:07d}" for i in range(count)]
        counts = rng.normal(SECONDS_EACH * 16000, 16000, FILES).astype(int).tolist()
        for number, count_of in enumerate(counts):  # silence takes next to nothing
            soundfile.write(path / f"{number}.flac", np.zeros(count_of, "int16"), 16000)
        for number, utterance in enumerate(ids):
            os.link(path / f"{number % FILES}.flac", path / "wav" / f"{utterance}.flac")
        letters = "".join(rng.choice(LETTERS, 100_000))
        places = rng.integers(0, 99_000, count)
        text = [f"a{' '.join(letters[p : p + 160].split())}" for p in places]
        tables = {
            "wav.scp": [str((path / "wav" / f"{u}.flac").resolve()) for u in ids],
            "utt2spk": [u.rpartition("-")[0] for u in ids],
            "utt2num_samples": [counts[i % FILES] for i in range(count)],
            "text": text,
        }
        for table, values in tables.items():
            lines = [f"{u} {value}\n" for u, value in zip(ids, values, strict=True)]
            (path / table).write_text("".join(lines), encoding="utf-8")
        write_targets(path, "hubert", width=4, step_ms=4000.0, shard_utts=2000)
    write_token_list(["".join(LETTERS) + "a"], root / "tokens.txt", "char")
    time.sleep(3)  # files that were changed just now are not vouched for


def started(root: Path) -> dict:
    """What a start in a process of its own took."""
    command = [sys.executable, __file__, "--start", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def start(root: Path) -> int:
    """A start, without the student and ESPnet's import; prints what it took as JSON."""
    from espnet2.train.distributed_utils import DistributedOption

    from distill_asr.espnet.task import DistillTask
    from distill_asr.experiments.layout import Experiment
    from distill_asr.io.yaml import load_config
    from distill_asr.train.config import TrainConfig, TrainOptions
    from distill_asr.train.training import prepare_training

    given = [f"token_list={root / 'tokens.txt'}", "num_workers=0"]
    config = load_config(CONFIG, given)
    block = {"teacher": "hubert", "tap": "encoder", "match": "frame", "loss": "l1"}
    read = TrainConfig.parse(config | {"distill": {"hubert": block}}, str(CONFIG))
    places = ((str(root / "train"),), (str(root / "dev"),), Experiment(root / "exp"))
    parts, begin = {}, time.process_time()
    command = prepare_training(read, TrainOptions((str(CONFIG),), *places))
    parts["checks and lists"] = time.process_time() - begin
    args = DistillTask.get_parser().parse_args(command)
    factory = DistillTask.build_iter_factory(args, DistributedOption(), "train")
    parts["ESPnet's dataset and batches"] = time.process_time() - begin - sum(parts.values())
    factory.build_iter(1)
    parts["an epoch's order"] = time.process_time() - begin - sum(parts.values())
    print(json.dumps({"seconds": sum(parts.values()), "mb": peak_mb(), "parts": parts}))
    return 0


def peak_mb() -> float:
    """Of this process; `getrusage` would count what its parent had when it began."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
