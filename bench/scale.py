"""How time, memory, disk and file handles of each stage grow with the hours.

Synthetic audio, a tiny teacher and a tiny student, at 1, 3 and 10 times the hours: a dump, the start
of a training, its epoch, a decoding and its score, each the command itself in a forked process
(imports are done before, so that they hide nothing). Seconds are the processor's; memory is the peak
above that of the fork. The start of a training ends when ESPnet has written its config.yaml. Growth
between neighbouring sizes must not exceed that of the hours by more than the margins; handles must
not grow.

    OMP_NUM_THREADS=1 python bench/scale.py
"""  # noqa: E501

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from distill_asr.cli import main as command
from distill_asr.testing.fixtures import (
    make_prepared_dir,
    tiny_config,
    tiny_speech_teacher,
    write_tokens,
)

STAGES = ("dump", "training start", "training epoch", "decode", "score")
MARGIN = {"seconds": 1.3, "mb": 1.3, "disk": 1.1}  # over the growth of the hours
FLOOR = {"seconds": 0.5, "mb": 20.0, "disk": 0.5}  # growth by less than this is not judged
HANDLES = 4  # that may come with more hours
_TICK = os.sysconf("SC_CLK_TCK")
_UNITS = {"seconds": "s", "mb": "MB", "disk": "MB", "handles": "open files"}


@dataclass
class Cost:
    """What a stage took at one size."""

    seconds: float = 0.0  # of the processor
    mb: float = 0.0  # peak above the fork
    disk: float = 0.0  # MB written
    handles: int = 0  # most files open at a time


@dataclass
class _Watched:
    """A forked process as the parent sees it."""

    pid: int
    first_mb: float
    cost: Cost = field(default_factory=Cost)

    def look(self) -> bool:
        """Take its figures; False once it has ended."""
        proc = Path(f"/proc/{self.pid}")
        try:
            fields = (proc / "stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z":
                return False
            self.cost.seconds = (int(fields[11]) + int(fields[12])) / _TICK
            peak = re.search(r"VmHWM:\s+(\d+) kB", (proc / "status").read_text())
            if peak:
                self.cost.mb = max(self.cost.mb, int(peak[1]) / 1024 - self.first_mb)
            self.cost.handles = max(self.cost.handles, len(os.listdir(proc / "fd")))
        except OSError:
            return False
        return True


def main() -> int:
    """Print the table; 1 where something grows faster than the work."""
    options = parse()
    import_all()
    costs: dict[str, list[Cost]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(dir=options.scratch) as directory:
        for times in options.times:
            root = Path(directory) / f"x{times:g}"
            for stage, cost in measured(root, round(options.utterances * times)).items():
                costs[stage].append(cost)
    return report(costs, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=100, help="at 1 x, of 1 to 2 s")
    parser.add_argument("--times", type=float, nargs="+", default=(1, 3, 10))
    parser.add_argument("--scratch", help="where the files are made")
    return parser.parse_args()


def import_all() -> None:
    """What the stages import, so that no fork has to."""
    import distill_asr.decode.command
    import distill_asr.dump.command
    import distill_asr.espnet.task
    import distill_asr.scoring.command
    import distill_asr.teachers.speech
    import distill_asr.train.training  # noqa: F401


def measured(root: Path, utterances: int) -> dict[str, Cost]:
    """All stages at one size."""
    train = make_prepared_dir(root / "dump/train", utterances, (1.0, 2.0))
    valid = make_prepared_dir(root / "dump/dev", 4, (1.0, 2.0), seed=1)
    config, exp = root / "student.yaml", root / "exp/tiny_seed1"
    blocks = {"hubert": {"teacher": "hubert", "tap": "encoder", "loss": "l1"}}
    student = tiny_config("ctc", write_tokens(root / "tokens.txt"), blocks)
    config.write_text(yaml.safe_dump(student | {"batch_size": 8}))
    model = tiny_speech_teacher(root / "model")
    teacher = root / "hubert.yaml"
    teacher.write_text(yaml.safe_dump({"kind": "speech", "model": str(model), "layers": [2]}))
    costs = {
        "dump": run(["dump", "--teacher", teacher, "--name", "hubert", train], train / "targets")
    }
    whole = ["train", "--config", config, "--train", train, "--valid", valid, "--output", exp]
    marked = Cost()
    epoch = run(whole, exp / "data", until=exp / "config.yaml", start=marked)
    costs["training start"] = Cost(marked.seconds, marked.mb, epoch.disk, marked.handles)
    epoch.seconds, epoch.disk = epoch.seconds - marked.seconds, 0.0
    costs["training epoch"] = epoch
    decode = ["decode", "--exp", exp, "--data", train, "--method", "greedy"]
    costs["decode"] = run(decode, exp / "decode")
    score = ["score", "--systems", "tiny", "--seeds", "1", "--sets", "train"]
    score += ["--exp", root / "exp", "--dump", root / "dump", "--out", root / "scores/RESULTS.md"]
    costs["score"] = run(score, root / "scores")
    return costs


def run(
    words: list[object], output: Path, until: Path | None = None, start: Cost | None = None
) -> Cost:
    """Run a command in a fork and watch it.

    Parameters
    ----------
    output : the directory whose growth is the disk that it takes.
    until, start : when this file is there, the cost so far is written into ``start``.
    """
    sys.stdout.flush()
    before = size(output)
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        code = 1
        try:
            code = command([str(word) for word in words])
        finally:
            os._exit(code)
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    watched = _Watched(pid, int(resident[1]) / 1024 if resident else 0.0)
    marked = start is None
    while watched.look():
        if not marked and until is not None and until.exists():
            vars(start).update(vars(watched.cost))
            marked = True
        time.sleep(0.02)
    _, status, used = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"`distill-asr {words[0]}` failed")
    watched.cost.seconds = used.ru_utime + used.ru_stime
    watched.cost.disk = size(output) - before
    return watched.cost


def size(directory: Path) -> float:
    """MB of all files."""
    return sum(p.stat().st_size for p in directory.rglob("*") if p.is_file()) / 1e6


def report(costs: dict[str, list[Cost]], options: argparse.Namespace) -> int:
    """A row for each stage and what it takes; 1 where one grows faster than the work."""
    count = options.utterances
    print(f"{count} utterances of 1 to 2 s ({count * 1.5 / 3600:.2f} h) at 1 x; "
          f"times {', '.join(f'{t:g}' for t in options.times)}")  # fmt: skip
    bad = []
    for stage, found in costs.items():
        for kind, unit in _UNITS.items():
            values = [float(getattr(cost, kind)) for cost in found]
            if kind == "disk" and not any(values):
                continue
            numbers = "".join(f"{value:10.2f}" for value in values)
            wrong = grows_faster(kind, values, options.times)
            print(f"{stage:<16}{unit:<11}{numbers}{'   FASTER THAN THE WORK' if wrong else ''}")
            bad += [f"{stage}: {unit}"] if wrong else []
    print("nothing grows faster than the work" if not bad else f"faster: {', '.join(bad)}")
    return int(bool(bad))


def grows_faster(kind: str, values: list[float], times: list[float]) -> bool:
    """Whether a step to more hours costs more than they do, beyond the margin."""
    if kind == "handles":
        return max(values) > values[0] + HANDLES
    pairs = zip(values, values[1:], times, times[1:], strict=False)
    return any(
        after - before > FLOOR[kind] and after > MARGIN[kind] * before * (more / less)
        for before, after, less, more in pairs
    )


if __name__ == "__main__":
    sys.exit(main())
