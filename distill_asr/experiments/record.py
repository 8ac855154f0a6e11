"""The record of a finished training: checksums of the files that decide its words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distill_asr.experiments.layout import AVERAGED, CONFIG, Experiment
from distill_asr.io.records import DamagedRecordError, altered, read_record, vouched, write_record


def write_done(experiment: Experiment, fingerprint: str, files: Iterable[Path]) -> None:
    """Record that a training is finished, with its result.

    Parameters
    ----------
    experiment : the training's.
    fingerprint : of what makes the training this one.
    files : with the averaged model, all that its words depend on.
    """
    listed = [*files, *([experiment.model] if experiment.model.exists() else [])]
    known = vouched({_name(experiment, file): file for file in listed})
    write_record(experiment.done, {"fingerprint": fingerprint, "files": known})


def read_done(experiment: Experiment) -> dict[str, Any]:
    """The record of a finished training; empty where it is not finished, or its record damaged."""
    try:
        return read_record(experiment.done)
    except (OSError, DamagedRecordError):
        return {}


def is_whole(experiment: Experiment) -> bool:
    """Whether the files in a finished experiment are as they were written."""
    names = (CONFIG, AVERAGED, str(experiment.statistics.relative_to(experiment.directory)))
    files = {name: experiment.directory / name for name in names}
    return not altered(experiment.done, files, "")


def altered_files(experiment: Experiment, files: Iterable[Path]) -> list[str]:
    """List the files that changed since the training ended; nothing before its end.

    Parameters
    ----------
    experiment : the training's.
    files : to look at; those that its record does not name are not compared.
    """
    way_out = (
        f"put a good copy back, or run the same `distill-asr train` for {experiment.directory} "
        "again, which mends what it can"
    )
    return altered(experiment.done, {_name(experiment, file): file for file in files}, way_out)


def _name(experiment: Experiment, file: Path) -> str:
    """Name in the record, which stays true where the experiment is moved."""
    directory, file = experiment.directory.resolve(), file.absolute()
    try:
        return str(file.parent.resolve().joinpath(file.name).relative_to(directory))
    except ValueError:
        return file.name
