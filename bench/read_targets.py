"""Reading teacher targets while training against reading the audio itself, in one run.

The same utterances go through ESPnet's dataset and collate function as audio (16-bit WAV), as
targets of codec fp16, and as codes of codec mvq; a teacher of width 1024 at 50 positions a second.
They take turns, batch by batch, in one process, so that whatever else the machine does hits all.
Codes are also decoded, as a distiller does in the training step. Times are the processor's.

    OMP_NUM_THREADS=1 python bench/read_targets.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from distill_asr.data.datadir import DataDir
from distill_asr.distill.codes import CodeReader
from distill_asr.targets.codebooks import CODEBOOKS, Codebooks
from distill_asr.testing.codebooks import write_codebooks
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.targets import write_targets
from distill_asr.train.requirements import WantedTargets, list_targets

LIMIT = 1.0  # a kind of targets over the audio


def main() -> int:
    """Print median times a batch and their ratios; 1 where reading targets is slower."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        data = make_data(Path(directory) / "dump/train", options)
        readers = make_readers(data)
        times = measure(readers, batches(data, options), options.repeats)
    return report(times, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 15.0))
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8, help="utterances")
    parser.add_argument("--repeats", type=int, default=20, help="passes over the data")
    return parser.parse_args()


def make_data(path: Path, options: argparse.Namespace) -> DataDir:
    """Audio, and targets of both codecs."""
    seconds = np.random.default_rng(0).uniform(*options.seconds, options.utterances)
    write_data_dir(path, {f"utt{i:04d}": int(16000 * s) for i, s in enumerate(seconds)})
    codecs = {"fp16": {"name": "fp16"}}
    codecs["mvq"] = write_codebooks(path / "targets/mvq", options.width, 16)
    for name, codec in codecs.items():
        write_targets(path, name, width=options.width, shard_utts=200, codec=codec)
    return DataDir.read(path)


def make_readers(data: DataDir) -> dict[str, Callable[[list[str]], object]]:
    """For each kind of data, what gives a batch of it as tensors."""
    from espnet2.train.collate_fn import CommonCollateFn
    from espnet2.train.dataset import ESPnetDataset

    from distill_asr.espnet.plugin import TARGETS_TYPE

    # as ESPnet's ASR task has it
    collate = CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    def reader(file: Path, kind: str) -> Callable[[list[str]], torch.Tensor]:
        dataset = ESPnetDataset([(str(file), "x", kind)])
        return lambda batch: collate([dataset[utterance] for utterance in batch])[1]["x"]

    readers = {"audio": reader(Path(data.path) / "wav.scp", "sound")}
    for codec in ("fp16", "mvq"):
        listed = Path(data.path) / f"{codec}.json"
        list_targets(listed, [data], WantedTargets(codec, False, ()))
        readers[codec] = reader(listed, TARGETS_TYPE)
    decode = CodeReader(Codebooks.load(Path(data.path) / "targets/mvq" / CODEBOOKS))
    readers["mvq, decoded"] = lambda batch: decode(readers["mvq"](batch))
    return readers


def batches(data: DataDir, options: argparse.Namespace) -> list[list[str]]:
    """Utterances of like length together, in random order, as in training."""
    ids = sorted(data.num_samples, key=data.num_samples.get)
    groups = [ids[i : i + options.batch] for i in range(0, len(ids), options.batch)]
    order = np.random.default_rng(0).permutation(len(groups))
    return [groups[i] for i in order]


def measure(
    readers: dict[str, Callable], groups: list[list[str]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each pass over the data; the kinds take turns at every batch."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for number in tqdm(range(-2, repeats), desc="passes"):
        passes = dict.fromkeys(readers, 0.0)
        for group in groups:
            for name in sorted(readers, reverse=number % 2 == 0):
                begin = time.process_time()
                readers[name](group)
                passes[name] += time.process_time() - begin
        if number >= 0:  # the first ones warm up
            for name, seconds in passes.items():
                times[name].append(seconds)
    return times


def report(times: dict[str, list[float]], options: argparse.Namespace) -> int:
    """Medians of the passes and their ratios to the audio."""
    shortest, longest = options.seconds
    print(
        f"{options.utterances} utterances of {shortest} to {longest} s, width {options.width}, "
        f"batches of {options.batch}, {options.repeats} passes, {torch.get_num_threads()} thread(s)"
    )
    audio = statistics.median(times["audio"])
    ratios = {}
    for name, values in times.items():
        median = statistics.median(values)
        ratios[name] = median / audio
        each = 1000 * median / options.utterances
        print(f"{name:<14}{each:8.2f} ms an utterance   {ratios[name]:6.2f} of the audio")
    read = {name: ratio for name, ratio in ratios.items() if name in ("fp16", "mvq")}
    print(f"limit {LIMIT}: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in read.items()))
    return int(max(read.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
