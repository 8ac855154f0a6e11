"""What the verb ``dump`` is asked for; needs no torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

TOLERANCE = 0.01  # of bfloat16 states against float32, relative


def add_teacher_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that describe a teacher: ``teacher`` and ``overrides``, lists."""
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="YAML",
        help="file that describes the teacher, such as conf/teacher/hubert_large.yaml; several "
        "are merged in this order",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help="change a key of the teacher's file, or describe the teacher without one",
    )


@dataclass(frozen=True)
class DumpOptions:
    """What is dumped, and by which workers.

    Parameters
    ----------
    data_dirs : prepared.
    teacher : its files, merged from left to right.
    overrides : ``KEY.PATH=VALUE`` each, which replace values of the files, or all values.
    name : of the targets; None: the teacher file's, where there is one.
    device : of torch, or several, split by commas.
    nj : worker processes on each device.
    threads : of each worker; None: its share of the cores.
    cluster : file of a dask cluster.
    batch_seconds, batch_tokens : in one teacher call; None: the teacher file's.
    shard_utts : utterances in one file.
    tolerance : largest relative error of ``dtype: bfloat16``.
    overwrite : replace targets of another teacher or other data, and damaged ones.
    """

    data_dirs: tuple[str, ...]
    teacher: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    name: str | None = None
    device: str = "cpu"
    nj: int = 1
    threads: int | None = None
    cluster: str | None = None
    batch_seconds: float | None = None
    batch_tokens: int | None = None
    shard_utts: int = 200
    tolerance: float = TOLERANCE
    overwrite: bool = False
