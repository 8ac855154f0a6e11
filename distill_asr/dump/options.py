"""What the verb ``dump`` is asked for; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 0.01  # of bfloat16 states against float32, relative


@dataclass(frozen=True)
class DumpOptions:
    """What is dumped, and by which workers.

    Parameters
    ----------
    data_dirs : prepared.
    teacher : its file.
    name : of the targets; None: the teacher file's.
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
    teacher: str
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
