#!/usr/bin/env python3
"""Accidents on purpose, by a seed: kills, full disks, races, jumping clocks, damaged files.

A small recipe (prepare, dump, train twice, decode, pseudo-label, score, report) runs once
undisturbed. Then each trial takes one of its commands, lets something happen to it, and looks:
the outcome must be a right result or one clear error, and the same command run again must give
what it gives undisturbed. One line a trial; exit code 1 if a trial went wrong.

    python tools/torture.py --seed 1                      # 50 kills, 200 flips, 20 races, 20 disks
    python tools/torture.py --seed 1 --minutes 5          # whatever fits
    python tools/torture.py --seed 1 --only flip --trial 17   # that one again; its files are kept
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# the same sums in the same order in every process; before anything imports numpy
os.environ.setdefault("OMP_NUM_THREADS", "1")

WHOLE_RUN = {
    "kill": 50,
    "flip": 200,
    "race": 20,
    "disk": 20,
    "readonly": 10,
    "clock": 10,
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, default=0, help="decides all trials (%(default)s)")
    add("--minutes", type=float, help="stop after so long")
    for kind, count in WHOLE_RUN.items():
        plural = "flips" if kind == "flip" else f"{kind}s"
        add(f"--{plural}", dest=kind, type=int, metavar="N", help=f"how many ({count})")
    add("--only", choices=WHOLE_RUN, help="only trials of this kind")
    add("--trial", type=int, metavar="N", help="only number N of a kind; needs --only")
    add("--real", action="store_true", help="start every command anew, as users do: slow")
    add("--work", type=Path, help="directory to work in; kept (a temporary one)")
    args = parser.parse_args(argv)
    if args.trial is not None and args.only is None:
        parser.error("--trial needs --only")
    return args


def planned(args: argparse.Namespace) -> list[tuple[str, int]]:
    """Kind and number of every trial, in the order they are run."""
    if args.trial is not None:
        return [(args.only, args.trial)]
    given = {kind: getattr(args, kind) for kind in WHOLE_RUN}
    chosen = any(count is not None for count in given.values())
    trials = []
    for kind, usual in WHOLE_RUN.items():
        if args.only in (None, kind):
            count = given[kind] if given[kind] is not None else 0 if chosen else usual
            trials += [(kind, number) for number in range(count)]
    random.Random(args.seed).shuffle(trials)  # so that a short run has some of each
    return trials


def main(argv: list[str] | None = None) -> int:
    """Run the trials."""
    args = parse(argv)
    work = args.work or Path(tempfile.mkdtemp(prefix="torture."))
    work.mkdir(parents=True, exist_ok=True)
    try:
        return run(args, work.resolve())
    finally:
        if args.work is None and args.trial is None:
            shutil.rmtree(work, ignore_errors=True)


def run(args: argparse.Namespace, work: Path) -> int:
    """Build the recipe undisturbed, then disturb it."""
    from distill_asr.testing.torture.processes import start_real, start_warm
    from distill_asr.testing.torture.scene import Scene
    from distill_asr.testing.torture.trials import Trial

    if not args.real:
        import matplotlib.pyplot  # noqa: F401  what takes seconds
        import scipy.stats  # noqa: F401
        import torch

        import distill_asr.espnet.task  # noqa: F401

        torch.set_num_threads(1)
    scene = Scene(work, start_real if args.real else start_warm)
    for name, outcome in scene.build():
        print(f"undisturbed  {name:12s} {outcome.seconds:6.2f} s", flush=True)
    begin, faults, ran = time.monotonic(), [], Counter()
    for kind, number in planned(args):
        if args.minutes and time.monotonic() - begin > 60 * args.minutes:
            break
        start = time.monotonic()
        verdict = getattr(Trial(scene, random.Random(f"{args.seed} {kind} {number}")), kind)()
        ran[kind] += 1
        seconds = time.monotonic() - start
        print(f"{kind:8s} {number:3d} {seconds:5.1f} s  {verdict.done} {verdict.fault or 'ok'}")
        if args.trial is not None:
            print(scene.said)
        sys.stdout.flush()
        if verdict.fault:
            faults.append(f"--seed {args.seed} --only {kind} --trial {number}: {verdict.fault}")
    counts = ", ".join(f"{count} {kind}" for kind, count in ran.items())
    print(f"seed {args.seed}: {counts}; {len(faults)} went wrong", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
