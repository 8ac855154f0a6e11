"""The verb ``dump``: it writes a teacher's targets for data dirs to disk."""

from __future__ import annotations

import argparse
from dataclasses import fields

from distill_asr.dump.options import TOLERANCE, DumpOptions, add_teacher_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.description = (
        "Write the states of a frozen teacher to <data dir>/targets/<name>. After a kill, the "
        "same command continues. Finished targets of the same teacher and data are skipped."
    )
    add = parser.add_argument
    add("data_dirs", nargs="+", metavar="DATA_DIR", help="prepared data dirs, such as dump/train")
    add_teacher_arguments(parser)
    add("--name", help="name of the targets (default: that of the teacher's file, if it is one)")
    add("--device", default="cpu",
        help="device: cpu, cuda, cuda:1, or several as cuda:0,cuda:1 (default: cpu)")  # fmt: skip
    add("--nj", type=int, default=1, help="number of worker processes on each device (default: 1)")
    add("--threads", type=int, help="threads of each worker (default: its share of the cores)")
    add(
        "--cluster",
        metavar="YAML",
        help="let dask start the workers; a file such as conf/cluster/slurm.yaml",
    )
    add("--batch-seconds", type=float,
        help="seconds of padded audio in a batch (default: as in the teacher's file)")  # fmt: skip
    add("--batch-tokens", type=int,
        help="padded pieces of text in a batch (default: as in the teacher's file)")  # fmt: skip
    add("--shard-utts", type=int, default=200, help="utterances in a shard (default: 200)")
    add("--tolerance", type=float, default=TOLERANCE,
        help="largest relative error of `dtype: bfloat16` (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true",
        help="replace targets that are damaged, or of another teacher or other data")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Dump the data dirs."""
    from distill_asr.dump.run import dump

    given = {one.name: getattr(args, one.name) for one in fields(DumpOptions)}
    several = {key: tuple(given[key]) for key in ("data_dirs", "teacher", "overrides")}
    dump(DumpOptions(**given | several))
    return 0
