"""A dump of text targets against the plain loop: one sentence at a time, float32, all cores.

A BERT of the base shape with random weights reads sentences of 3 to 25 words, some of them several
times. Both arms take turns, a part of the sentences each, so that whatever else the machine does
hits both. Ours is what `distill-asr dump` runs: tokenised, batched, written to disk; the plain loop
only computes. Models are loaded before.

    python bench/dump_text.py
    python bench/dump_text.py --dtype float32
    python bench/dump_text.py --device cuda --sentences 3000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from distill_asr.data.datadir import DataDir
from distill_asr.dump.machine import usable_cores
from distill_asr.dump.run import dump_sets
from distill_asr.dump.workers import Processes
from distill_asr.pretrained.precision import has_bfloat16, relative_error
from distill_asr.targets import TargetReader
from distill_asr.teachers import TeacherConfig

PIECES = 30522  # of BERT
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LIMITS = {"cpu": 1.0, "cuda": 5.0}  # ours over the plain loop
ERROR = 0.01


def main() -> int:
    """Print both rates and their ratio; 1 where it is under the limit."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        config = make_teacher(root / "bert", options)
        parts = make_data(root, options)
        plain = PlainLoop(config.model, options.device)
        devices = [options.device] * options.nj
        with closing(Processes(config, devices, options.threads)) as workers:
            seconds, error = measure(parts, plain, config, workers, options)
    return report(parts, seconds, error, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute on two cores."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--repeated", type=float, default=0.2, help="share said before")
    parser.add_argument("--parts", type=int, default=3, help="turns of each arm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="bfloat16 or float32 (default: the best there is)")
    parser.add_argument("--nj", type=int, help="workers (default: one a core; one on CUDA)")
    parser.add_argument("--threads", type=int, help="of each (default: its share of the cores)")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    options.dtype = options.dtype or ("bfloat16" if has_bfloat16(options.device) else "float32")
    options.nj = options.nj or (1 if cuda else usable_cores())
    options.threads = options.threads or max(1, usable_cores() // options.nj)
    return options


def make_teacher(path: Path, options: argparse.Namespace) -> TeacherConfig:
    """Save the random model with a made-up vocabulary; the last layer is dumped."""
    import transformers

    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig()).save_pretrained(path)
    words = [f"w{number}" for number in range(PIECES - len(SPECIAL))]
    (path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in SPECIAL + words))
    content = {"kind": "text", "model": str(path), "layers": [12], "dtype": options.dtype}
    return TeacherConfig.from_mapping(content | {"codec": {"name": "fp16"}}, str(path))


def make_data(root: Path, options: argparse.Namespace) -> list[DataDir]:
    """Data dirs of random sentences, the first one to warm up with."""
    rng = np.random.default_rng(0)
    each = options.sentences // options.parts
    data_dirs = []
    for number, count in enumerate([4 * options.nj, *[each] * options.parts]):
        said: list[str] = []
        for _ in range(count):
            again = said and rng.random() < options.repeated
            said.append(str(rng.choice(said)) if again else sentence(rng))
        text = {f"utt{number}-{i:04d}": words for i, words in enumerate(said)}
        path, same = root / f"part{number}", dict.fromkeys
        # a text teacher opens no audio
        DataDir(path, same(text, "no.wav"), text, {u: u for u in text}, same(text, 1)).write(path)
        data_dirs.append(DataDir.read(path))
    return data_dirs


def sentence(rng: np.random.Generator) -> str:
    """Words, each a piece of its own."""
    numbers = rng.integers(PIECES - len(SPECIAL), size=rng.integers(3, 26))
    return " ".join(f"w{number}" for number in numbers)


class PlainLoop:
    """What one writes first: the library's model and a loop."""

    def __init__(self, model: str, device: str) -> None:
        import transformers

        self.device = device
        self.model = transformers.BertModel.from_pretrained(model).eval().to(device)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model)

    def run(self, data_dir: DataDir) -> dict[str, np.ndarray]:
        """States [S, E] of every utterance's sentence."""
        states = {}
        for utterance, words in data_dir.text.items():
            inputs = self.tokenizer(words, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                output = self.model(**inputs, output_hidden_states=True)
                states[utterance] = output.last_hidden_state[0].cpu().numpy()
        return states


def measure(
    parts: list[DataDir],
    plain: PlainLoop,
    config: TeacherConfig,
    workers: Processes,
    options: argparse.Namespace,
) -> tuple[dict[str, float], float]:
    """Seconds of each arm, and the relative error of what ours wrote."""
    seconds = {"plain": 0.0, "ours": 0.0}
    found, expected = [], []
    for number, part in enumerate(parts):
        states: dict[str, np.ndarray] = {}
        shard_utts = -(-len(set(part.text.values())) // options.nj)
        for arm in sorted(seconds, reverse=number % 2 == 0):
            begin = time.perf_counter()
            if arm == "plain":
                states = plain.run(part)
            else:
                dump_sets([part], "bert", config, workers, shard_utts, float("inf"))
            if number > 0:  # the first one warms up
                seconds[arm] += time.perf_counter() - begin
        targets = TargetReader(part.path / "targets/bert")
        found += [targets[utterance] for utterance in states]
        expected += list(states.values())
    return seconds, relative_error(found, expected)


def report(
    parts: list[DataDir], seconds: dict[str, float], error: float, options: argparse.Namespace
) -> int:
    """Rates and their ratio."""
    count = sum(map(len, parts[1:]))
    distinct = sum(len(set(part.text.values())) for part in parts[1:])
    rates = {arm: count / taken for arm, taken in seconds.items()}
    ratio = rates["ours"] / rates["plain"]
    print(
        f"{count} sentences, {distinct} distinct, {options.device}; ours: {options.dtype}, "
        f"{options.nj} worker(s) of {options.threads} thread(s)"
    )
    print(f"plain loop {rates['plain']:8.1f} sentences a second")
    print(f"ours       {rates['ours']:8.1f} sentences a second")
    print(f"states within {error:.1e} of float32, limit {ERROR:g}")
    limit = LIMITS[options.device.partition(":")[0]]
    print(f"ratio      {ratio:8.2f}, limit {limit}")
    return int(ratio < limit or error > ERROR)


if __name__ == "__main__":
    sys.exit(main())
