"""The verb ``dump``: what a teacher says about the data of data dirs, onto disk."""

from __future__ import annotations

import argparse
from dataclasses import fields

from distill_asr.dump.options import TOLERANCE, DumpOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.description = (
        "Write the states of a frozen teacher to <data dir>/targets/<name>. Killed at any moment, "
        "the same command continues; finished targets of the same teacher and data are skipped."
    )
    add = parser.add_argument
    add("data_dirs", nargs="+", metavar="DATA_DIR", help="prepared, dump/<set>")
    add("--teacher", required=True, metavar="YAML", help="conf/teacher/*.yaml")
    add("--name", help="of the targets (default: the teacher file's name)")
    add("--device", default="cpu",
        help="cpu, cuda, cuda:1, or several as cuda:0,cuda:1 (default: cpu)")  # fmt: skip
    add("--nj", type=int, default=1, help="worker processes on each device (default: 1)")
    add("--threads", type=int, help="of each worker (default: its share of the cores)")
    add("--cluster", metavar="YAML", help="conf/cluster/*.yaml: workers that dask starts")
    add("--batch-seconds", type=float,
        help="padded audio in one teacher call (default: the YAML's)")  # fmt: skip
    add("--batch-tokens", type=int,
        help="padded pieces of text in one teacher call (default: the YAML's)")  # fmt: skip
    add("--shard-utts", type=int, default=200, help="utterances in one file (default: 200)")
    add("--tolerance", type=float, default=TOLERANCE,
        help="largest relative error of `dtype: bfloat16` (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true",
        help="replace targets of another teacher or other data, and damaged ones")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Dump the data dirs."""
    from distill_asr.dump.run import dump

    given = {one.name: getattr(args, one.name) for one in fields(DumpOptions)}
    dump(DumpOptions(**given | {"data_dirs": tuple(args.data_dirs)}))
    return 0
