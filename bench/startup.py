"""Processor time of each verb on next to nothing: what starting costs.

The yardstick is stock ESPnet, `python -c "import espnet2.tasks.asr"`; the share of it is what is
comparable between machines. The student is a tiny random one and the data are two utterances.

    OMP_NUM_THREADS=1 python bench/startup.py
    OMP_NUM_THREADS=1 python bench/startup.py --only decode,score --repeats 3
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# of verbs with ESPnet and without: seconds, or on a slower machine the share of stock ESPnet
LIMITS = {"espnet": 5.0, "light": 1.5}
SHARES = {"espnet": 0.28, "light": 0.07}
STOCK = "import espnet2.tasks.asr"
PREPARE = """
import sys
from pathlib import Path
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.recognisers import save_recogniser

root = Path(sys.argv[1])
make_prepared_dir(root / "dump" / "test", 2)
changes = {"encoder": "chunked", "frontend_conf": {"n_mels": 80}, "encoder_conf": {
    "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
    "cnn_module_kernel": 5, "chunk_size": 4, "left_frames": 8}}
save_recogniser(root / "exp" / "plain_seed1", "transducer", **changes)
save_recogniser(root / "exp" / "ctc_seed1", "ctc", **changes)
"""
EXPORT = "--to onnx --exp exp/plain_seed1 --output deploy --wavs dump/test --num-wavs 1"
SCORE = "--systems plain --seeds 1 --sets test --out scored.md"


@dataclass(frozen=True)
class Start:
    """A program to start.

    Parameters
    ----------
    kind : which limit holds for it; none for ``stock``.
    words : after the interpreter.
    writes : the folder of its results, removed before each run, since a verb that finds them
        does nothing.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    writes: str = ""


def verb(words: str) -> tuple[str, ...]:
    """``distill-asr`` with these words."""
    return ("-m", "distill_asr", *words.split())


# in this order: what one writes, later ones read
STARTS = [
    Start("import espnet2.tasks.asr", "stock", ("-c", STOCK)),
    Start("import torch", "stock", ("-c", "import torch")),
    Start("decode", "espnet", verb("decode --exp exp/plain_seed1 --data dump/test"),
          "exp/plain_seed1/decode"),
    Start("decode --method greedy", "espnet",
          verb("decode --exp exp/ctc_seed1 --data dump/test --method greedy --output greedy"),
          "greedy"),
    Start("stream", "espnet", verb("stream --exp exp/plain_seed1 dump/test/wav/0.wav")),
    Start("export --to onnx", "stock", verb(f"export {EXPORT}"), "deploy"),
    Start("recognise.py", "light", ("deploy/recognise.py", "deploy/test_wavs/0.wav")),
    Start("score", "light", verb(f"score {SCORE}")),
    Start("--version", "light", verb("--version")),
]  # fmt: skip


def main() -> int:
    """Print a table; 1 where a verb is over both of its limits, seconds and share."""
    options = parse()
    chosen = [one for one in STARTS if one.name in options.only] if options.only else STARTS
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", PREPARE, folder], check=True, env=environment())
        wav = next((Path(folder) / "dump/test").rglob("*.wav"))
        found = {one: seconds(one, folder, str(wav), options.repeats) for one in chosen}
    stock = next((value for one, value in found.items() if one.words == ("-c", STOCK)), None)
    failed = 0
    for one, taken in found.items():
        share = taken / stock if stock else float("nan")
        limit = LIMITS.get(one.kind)
        over = limit is not None and taken > limit and not share <= SHARES[one.kind]
        failed |= over
        note = "" if limit is None else f"  limit {limit} s or {SHARES[one.kind]}"
        print(f"{one.name:<26} {taken:6.2f} s  {share:5.2f}{note}{'  OVER' if over else ''}")
    return int(failed)


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="the quickest one counts")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, with commas")
    return parser.parse_args()


def environment() -> dict[str, str]:
    """Ours, with this checkout first on the path."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def seconds(start: Start, folder: str, wav: str, repeats: int) -> float:
    """Processor seconds of the quickest run, all its processes together."""
    words = [wav if word.endswith("0.wav") and "dump" in word else word for word in start.words]
    taken = []
    for _ in range(repeats):
        if start.writes:
            shutil.rmtree(Path(folder) / start.writes, ignore_errors=True)
        before = os.times()
        done = subprocess.run([sys.executable, *words], cwd=folder, env=environment(),
                              capture_output=True, text=True)  # fmt: skip
        after = os.times()
        if done.returncode:
            raise SystemExit(f"{start.name}: {done.stderr}")
        taken.append(
            after.children_user - before.children_user
            + after.children_system - before.children_system
        )  # fmt: skip
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())
