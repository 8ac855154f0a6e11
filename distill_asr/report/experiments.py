"""Which experiments a page is about, and what of them can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import UserError, nearest
from distill_asr.experiments.layout import RECORD, Experiment
from distill_asr.scoring.systems import Comparison

_NAMED = re.compile(r"(?P<system>.+)_seed(?P<seed>\d+)")
_PLAIN = ("baseline", "plain")  # systems that others are compared with, unless told otherwise


@dataclass(frozen=True)
class Wanted:
    """The user's choices; a None is replaced by the experiments that exist.

    Parameters
    ----------
    floor : noise floor, a share.
    """

    directories: Sequence[Path]
    dump: Path | None = None
    sets: Sequence[str] | None = None
    baseline: str | None = None
    control: str | None = None
    repeats: Mapping[str, str] | None = None
    floor: float | None = None
    lowercase: bool = False


@dataclass(frozen=True)
class Study:
    """What a page is about.

    Parameters
    ----------
    experiments : all, in the order given; also those without decodings.
    comparison : of those that were decoded; None where none was.
    notes : what was left out, and why.
    """

    experiments: list[Experiment]
    comparison: Comparison | None
    notes: list[str]


def find_study(wanted: Wanted) -> Study:
    """Look at the experiments.

    Systems are compared on the seeds and sets that all of them have; the notes list what was left
    out.

    Raises
    ------
    UserError : no experiments, systems that are not among them, no seed or set that all have.
    """
    experiments = [Experiment(path) for path in dict.fromkeys(wanted.directories)]
    problems = [problem for one in experiments if (problem := _unfit(one))]
    if problems:
        raise UserError(problems)
    runs: dict[str, dict[int, Experiment]] = {}
    for one in experiments:
        found = _NAMED.fullmatch(one.directory.resolve().name)
        if found and _decoded(one):
            runs.setdefault(found["system"], {})[int(found["seed"])] = one
    if not runs:
        note = "No experiment was decoded, so there is no table. Run `distill-asr decode`."
        return Study(experiments, None, [note])
    notes: list[str] = []
    comparison = _comparison(wanted, runs, notes)
    return Study(experiments, comparison, notes)


def _unfit(one: Experiment) -> str | None:
    if not one.directory.is_dir():
        return f"{one.directory}: no such directory; expected an experiment, such as exp/*_seed1"
    if not one.record.is_file() and not one.log.is_file() and not _decoded(one):
        return f"{one.directory}: not an experiment of `distill-asr train`: it has no {RECORD}"
    return None


def _decoded(one: Experiment) -> set[str]:
    """Sets that were recognised."""
    return {path.parent.name for path in (one.directory / "decode").glob("*/text")}


def _comparison(
    wanted: Wanted, runs: Mapping[str, Mapping[int, Experiment]], notes: list[str]
) -> Comparison:
    repeats = dict(wanted.repeats or {})
    systems = [name for name in runs if name not in repeats]
    problems = [
        f"{option} {name}: not among the decoded systems{nearest(name, systems)}"
        for option, name in (
            ("--baseline", wanted.baseline),
            ("--control", wanted.control),
            *(("--repeat", name) for name in repeats.values()),
        )
        if name is not None and name not in systems
    ]
    problems += [
        f"--repeat {name}: not among the decoded experiments{nearest(name, runs)}"
        for name in repeats
        if name not in runs
    ]
    folders = {one.directory.resolve().parent for of in runs.values() for one in of.values()}
    if len(folders) > 1:
        named = ", ".join(sorted(map(str, folders)))
        problems.append(f"experiments of several folders ({named}); make a page of each")
    seeds = _common("seed", {name: set(of) for name, of in runs.items()}, notes, problems)
    sets = _common_sets(wanted, runs, notes, problems)
    if problems:
        raise UserError(problems)
    first = next(iter(runs.values()))
    exp = next(iter(first.values())).directory.parent
    baseline = wanted.baseline or next((name for name in _PLAIN if name in systems), systems[0])
    systems = [baseline, *(name for name in systems if name != baseline)]
    return Comparison(
        exp,
        wanted.dump or exp.parent / "dump",
        systems,
        seeds,
        sets,
        baseline,
        wanted.lowercase,
        wanted.control,
        repeats,
        wanted.floor,
    )


def _common_sets(
    wanted: Wanted,
    runs: Mapping[str, Mapping[int, Experiment]],
    notes: list[str],
    problems: list[str],
) -> list[str]:
    by_run = {one.directory.name: _decoded(one) for of in runs.values() for one in of.values()}
    if wanted.sets is None:
        return _common("set", by_run, notes, problems)
    for name, found in by_run.items():
        for missing in sorted(set(wanted.sets) - found):
            problems.append(f"--sets {missing}: {name} was not decoded on it")
    return list(wanted.sets)


def _common(what: str, found: Mapping[str, set], notes: list[str], problems: list[str]) -> list:
    """What all have, sorted; the notes get the rest."""
    common = set.intersection(*found.values())
    for name, has in found.items():
        if rest := sorted(has - common):
            notes.append(
                f"{name}: {what} {', '.join(map(str, rest))} left out, because other "
                "experiments lack it."
            )
    if not common:
        listed = "; ".join(
            f"{name}: {', '.join(map(str, sorted(has)))}" for name, has in found.items()
        )
        problems.append(f"no {what} that all experiments have ({listed}); name fewer experiments")
    return sorted(common)
