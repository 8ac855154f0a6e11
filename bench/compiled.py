"""Updates of a student whose encoder is compiled by torch.compile, against the same as it is.

Both take turns on the same batches in one process, as in updates.py, whose student and data these
are. All audio has one length, so this is the most that compiling can gain; `--dynamic` with
`--seconds 1 3` has a training's many lengths. What it takes to compile is counted apart. Times are
the processor's.

    OMP_NUM_THREADS=1 python bench/compiled.py
    OMP_NUM_THREADS=1 python bench/compiled.py --dynamic --seconds 1 3
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm
from updates import CONFIG, Training, make_data

from distill_asr.io.yaml import load_config

WARM_UP = 4  # updates, in which it compiles
GAIN = 1.1  # from which an option would be worth having


def main() -> int:
    """Print both medians and what compiling took; 1 where it is worth having."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        given = [f"token_list={make_data(root, options)}", "token_type=char", "num_workers=0"]
        given += [f"batch_bins={options.batch_bins}", f"encoder_conf.num_blocks={options.blocks}"]
        config = load_config(CONFIG, given)
        config.pop("bpemodel", None)
        plain, compiled = (Training(config, root, root / side, "ours") for side in ("a", "b"))
        encoder = compiled.student.encoder
        encoder.forward = torch.compile(
            encoder.forward, dynamic=options.dynamic, backend=options.backend
        )
        times: dict[str, list[float]] = {"as it is": [], "compiled": []}
        for number in tqdm(range(WARM_UP + options.repeats), desc="update"):
            for side, training in zip(times, (plain, compiled), strict=True):
                begin = time.process_time()
                training.update(number)
                times[side].append(time.process_time() - begin)
    first, second = (statistics.median(taken[WARM_UP:]) for taken in times.values())
    spent = sum(times["compiled"][:WARM_UP]) - WARM_UP * second
    print(f"{CONFIG.stem}, {options.repeats} updates a side, {torch.get_num_threads()} thread(s)")
    print(f"as it is {1000 * first:8.0f} ms")
    print(f"compiled {1000 * second:8.0f} ms   {first / second:.2f} x   (compiling {spent:.0f} s)")
    print(f"worth an option from {GAIN} x on")
    return int(first / second >= GAIN)


def parse() -> argparse.Namespace:
    """Options; the defaults take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=120, help="as in mini")
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 2.0))
    parser.add_argument("--batch-bins", type=int, default=320000)
    parser.add_argument("--blocks", type=int, default=4, help="of the encoder, as in the student")
    parser.add_argument("--dynamic", action="store_true", help="shapes vary")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--repeats", type=int, default=20, help="updates a side")
    parser.set_defaults(vocabulary=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
