"""What the verb ``dump`` is asked for; needs no torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

TOLERANCE = 0.01  # of bfloat16 states against float32, relative


def add_teacher_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that describe a teacher: ``teacher`` and ``overrides``, lists."""
    add_teacher_files(parser, "such as conf/teacher/hubert_large.yaml")
    add_overrides(parser, "or describe the teacher without one")


def add_teacher_files(parser: argparse._ActionsContainer, which: str) -> None:
    """``--teacher``, a list; the help says ``which`` files."""
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="YAML",
        help=f"file that describes the teacher, {which}; several are merged in this order",
    )


def add_overrides(parser: argparse._ActionsContainer, more: str) -> None:
    """``--set``, the list ``overrides``; the help goes on with ``more``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help=f"change a key of the teacher's file, {more}",
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
