"""Does the memory of a dump grow with the corpus? Peak of the whole command, at 1 and 10 times.

A tiny HuBERT hears utterances of 1 to 3 s, in shards of 50. The command runs in a process of its
own, as a user runs it.

    python bench/dump_memory.py
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.speech_models import save_speech_model

FACTOR = 10
LIMIT = 1.05  # peak at FACTOR times the corpus over peak at once


def main() -> int:
    """Print both peaks and their ratio; 1 where it is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=2000, help=f"and {FACTOR} times as many")
    parser.add_argument("--nj", type=int, default=1, help="workers")
    options = parser.parse_args()
    counts = (options.utterances, FACTOR * options.utterances)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        teacher = root / "tiny.yaml"
        model = save_speech_model(root / "model")
        teacher.write_text(f"kind: speech\nmodel: {model}\nlayers: [3]\nbatch_seconds: 20\n")
        peaks = [peak(make_data(root / str(count), count), teacher, options.nj) for count in counts]
    for count, size in zip(counts, peaks, strict=True):
        print(f"{count:6d} utterances: peak of {size / 1e6:.1f} MB")
    grown = (peaks[1] - peaks[0]) / (counts[1] - counts[0])
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f}, limit {LIMIT}; {grown / 1000:.2f} kB for each further utterance")
    return int(ratio > LIMIT)


def make_data(path: Path, count: int) -> Path:
    """A data dir of noise."""
    seconds = np.random.default_rng(0).uniform(1, 3, count)
    lengths = {f"utt{i:06d}": int(s * SAMPLE_RATE) for i, s in enumerate(seconds)}
    return write_data_dir(path, lengths)


def peak(data: Path, teacher: Path, nj: int) -> int:
    """Peak resident memory in bytes of one dump, its workers' added."""
    command = [sys.executable, "-m", "distill_asr", "dump", data, "--teacher", teacher]
    command += ["--shard-utts", 50, "--nj", nj]
    process = subprocess.Popen([str(word) for word in command])
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), high_water(pid))
        time.sleep(0.05)
    if process.returncode != 0:
        raise SystemExit(f"the dump of {data} failed")
    return sum(peaks.values())


def family(pid: int) -> list[int]:
    """A process and those that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def high_water(pid: int) -> int:
    """Most memory so far, in bytes; what the kernel tells of a child's would count its parent's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found.group(1)) if found else 0


if __name__ == "__main__":
    sys.exit(main())
