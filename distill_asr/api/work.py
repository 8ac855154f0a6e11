"""Dumping, training and scoring, as the verbs do it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from distill_asr.dump.options import TOLERANCE, DumpOptions
from distill_asr.dump.run import dump
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.scoring.score import Scores, write_scores
from distill_asr.scoring.systems import Comparison
from distill_asr.train.config import TrainOptions
from distill_asr.train.run import run_training

PathLike = str | os.PathLike[str]


def dump_targets(
    data_dirs: PathLike | Sequence[PathLike],
    teacher: PathLike | Sequence[PathLike],
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    device: str = "cpu",
    nj: int = 1,
    threads: int | None = None,
    cluster: PathLike | None = None,
    batch_seconds: float | None = None,
    batch_tokens: int | None = None,
    shard_utts: int = 200,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> list[Path]:
    """``distill-asr dump``: a teacher's states of prepared data dirs, onto disk.

    Parameters
    ----------
    data_dirs : one, or several.
    teacher : its file, ``conf/teacher/*.yaml``; several are merged from left to right.
    overrides : ``KEY.PATH=VALUE`` each.
    name : of the targets; None: the teacher file's.
    device : of torch, or several, split by commas.
    nj : worker processes on each device; a script that asks for more than one needs
        ``if __name__ == "__main__":``.
    threads : of each worker; None: its share of the cores.
    cluster : file of a dask cluster, ``conf/cluster/*.yaml``.
    batch_seconds, batch_tokens : in one teacher call; None: the teacher file's.
    shard_utts : utterances in one file.
    tolerance : largest relative error of ``dtype: bfloat16``.
    overwrite : replace targets of another teacher or other data, and damaged ones.

    Returns
    -------
    The directory of the targets of each data dir.

    Raises
    ------
    UserError : everything wrong with options, data or teacher, in one report.
    """
    options = DumpOptions(
        _paths(data_dirs),
        _paths(teacher),
        tuple(overrides),
        name,
        device,
        nj,
        threads,
        None if cluster is None else os.fspath(cluster),
        batch_seconds,
        batch_tokens,
        shard_utts,
        tolerance,
        overwrite,
    )
    return dump(options)


def train_student(
    config: PathLike | Sequence[PathLike],
    train: PathLike | Sequence[PathLike],
    valid: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    overrides: Sequence[str] = (),
    init: PathLike | None = None,
    init_parts: Sequence[str] = ("encoder",),
    espnet: Sequence[str] = (),
) -> Path:
    """``distill-asr train``: train, continue, or do nothing where the same training is done.

    Parameters
    ----------
    config : training YAML; several are merged from left to right.
    train, valid : prepared data dirs.
    output : directory of the experiment.
    overrides : ``KEY.PATH=VALUE`` each.
    init : experiment whose parts are taken over; ``init_parts``: which.
    espnet : options of ESPnet, as they are.

    Returns
    -------
    ``output``.

    Raises
    ------
    UserError : everything wrong with config, data, targets or initial weights, in one report.
    """
    options = TrainOptions(
        config=_paths(config),
        train=_paths(train),
        valid=_paths(valid),
        experiment=Experiment(Path(output)),
        overrides=tuple(overrides),
        init=None if init is None else Experiment(Path(init)),
        init_parts=tuple(init_parts),
        espnet=tuple(espnet),
    )
    run_training(options)
    return options.experiment.directory


def score_systems(
    systems: Sequence[str],
    sets: Sequence[str],
    *,
    seeds: Sequence[int] = (1,),
    baseline: str | None = None,
    control: str | None = None,
    exp: PathLike = "exp",
    dump: PathLike = "dump",
    lowercase: bool = False,
    out: PathLike | None = None,
) -> Scores:
    """``distill-asr score``: ``exp/<system>_seed<seed>/decode/<set>`` in one table, onto disk.

    Parameters
    ----------
    systems, sets, seeds : which.
    baseline : system that the others are held against; None: the first.
    control : system with an uninformative teacher, to be held against as well.
    exp, dump : directories of experiments, and of prepared data.
    lowercase : both texts first.
    out : file of the table; None: ``exp/RESULTS.md``.

    Raises
    ------
    UserError : every missing or unfit file, names that are not among the systems.
    """
    first = baseline or next(iter(systems), "")
    unknown = [name for name in (first, control) if name is not None and name not in systems]
    if unknown or control == first:
        raise UserError(
            [f"{name!r} is not among the systems {', '.join(systems)}" for name in unknown]
            or f"control: {control} is the baseline; name another system"
        )
    wanted = Comparison(
        Path(exp), Path(dump), list(systems), list(seeds), list(sets), first, lowercase, control
    )
    return write_scores(wanted, Path(out) if out is not None else Path(exp) / "RESULTS.md")


def _paths(given: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    """One path, or several, as the verbs get them."""
    several = [given] if isinstance(given, (str, os.PathLike)) else given
    return tuple(os.fspath(one) for one in several)
