"""``distill-asr plan``: time, disk and memory of every stage of a recipe, before it is run."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distill_asr.decode.options import DecodeOptions
    from distill_asr.experiments.costs import Forecast
    from distill_asr.recipe.plan import Grid
    from distill_asr.start.cost import StageCost
    from distill_asr.start.forecast import ForecastOptions

_SETS = ("train_sets", "unlabelled_sets", "valid_set", "test_sets")
BUSY = 1.5  # programs that want a core, for each core
_JOINT = "joint"  # folder of one student for all languages
_PLAIN, _GREEDY = "plain", "--method greedy"  # of egs/common/languages.sh
_RATES = ("dump", "train", "decode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr plan``."""
    parser.description = (
        "Estimate what the stages of a recipe take on this machine, if it does nothing else. Rates "
        "are measured once, in half a minute a student, and kept; sets and systems are those of "
        "the recipe's run.sh."
    )
    add = parser.add_argument
    add(
        "recipe",
        type=Path,
        nargs="?",
        default=Path(),
        metavar="RECIPE",
        help="directory of the recipe",
    )
    add(
        "--file", type=Path, default=Path("conf/systems.yaml"), help="grid of systems (%(default)s)"
    )
    add("--systems", metavar="NAMES", help="systems, separated by commas, or all (those of run.sh)")
    add("--seeds", type=int, default=1, metavar="N", help="number of seeds (%(default)s)")
    add("--nj", type=int, help="number of jobs at a time (that of run.sh)")
    add(
        "--cores",
        type=int,
        help="number of cores that the jobs share (those of this machine)",
    )
    add("--hours", action="append", default=[], metavar="SET=HOURS",
        help="hours of audio of a set, instead of those in data/")  # fmt: skip
    add("--rate", action="append", default=[], metavar="STAGE=X",
        help="seconds of audio that a GPU or node processes per second, for dump, train or decode, "
        "instead of the rate measured here")  # fmt: skip
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of every training's config; may be repeated",
    )
    add("--brief", action="store_true", help="print stages without their jobs")
    add("--measure", action="store_true", help="measure the rates again")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from distill_asr.dump.machine import usable_cores
    from distill_asr.recipe.check import inside
    from distill_asr.start.calibration import Calibration, cache_file
    from distill_asr.start.cost import joined, table
    from distill_asr.start.forecast import ForecastOptions, forecast

    if not (args.recipe / args.file).is_file():
        raise UserError(f"{args.recipe / args.file}: no such file; is {args.recipe} a recipe?")
    problems: list[str] = []
    hours, rates = (
        _numbers(given, option, problems)
        for given, option in ((args.hours, "--hours"), (args.rate, "--rate"))
    )
    allowed = ", ".join(_RATES)
    problems += [f"--rate {one}: expected one of {allowed}" for one in rates if one not in _RATES]
    for name in ("seeds", "nj", "cores"):
        if (value := getattr(args, name)) is not None and value < 1:
            problems.append(f"--{name} {value}: expected at least 1")
    if problems:
        raise UserError(problems)
    with inside(args.recipe.resolve()):
        script = read_script(Path("run.sh"))
        nj = args.nj or int(script.get("nj", 2))
        cores = args.cores or usable_cores()
        options = ForecastOptions(nj, cores, hours, rates, search_of(script))
        if args.measure:
            cache_file().unlink(missing_ok=True)
        measures = Calibration(cache_file(), lambda line: print(line, file=sys.stderr, flush=True))
        parts = {}
        for folder in folders_of(hours):
            with inside(folder):
                parts[folder.name] = forecast(_grid(args, script, folder), measures, options)
                _keep(parts[folder.name], options)
        alone = len(parts) == 1
        stages = next(iter(parts.values())) if alone else joined(parts, nj, cores)
        _keep(stages, options)
    print(*table(stages, not args.brief), sep="\n")
    if measures.measured and (load := os.getloadavg()[0]) > BUSY * usable_cores():
        print(
            f"warning: the machine was busy while rates were measured (load {load:.0f}), which "
            "may slow them; repeat with --measure when it is idle",
            file=sys.stderr,
        )
    print(f"{nj} job(s) at a time, a thread each, on {cores} core(s) that are free")
    return 0


def read_script(path: Path) -> dict[str, str]:
    """Options that a recipe's run.sh gives to the common stages; empty without run.sh."""
    try:
        words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    except (OSError, ValueError):
        return {}
    return {
        name[2:].replace("-", "_"): value
        for name, value in pairwise(words)
        if name.startswith("--") and "$" not in value  # known when the script runs
    }


def folders_of(hours: Mapping[str, float]) -> list[Path]:
    """Where data, dump and exp lie: here, or in a folder a language, ``langs/<code>``."""
    here = [Path()]
    if hours:
        return here
    # first of all by language: beside the folders, data/ may have what all of them share
    found = sorted(
        {one.parent for kind in ("data", "dump") for one in Path("langs").glob(f"*/{kind}")}
    )
    return [one for one in found if one.name != _JOINT] or here


def search_of(script: Mapping[str, str]) -> DecodeOptions:
    """Options of decoding that a recipe's run.sh gives; those of the common stages otherwise."""
    from distill_asr.decode.options import DecodeOptions

    words = script.get("decode_opts", _GREEDY if "candidates" in script else "").split()
    given = dict(pairwise(words))
    if given.get("--method") == "greedy":
        return DecodeOptions(method="greedy")
    return DecodeOptions(beam_size=int(given.get("--beam-size", 4)))


def _keep(stages: list[StageCost], options: ForecastOptions) -> None:
    """Beside the experiments; not that of other hours, which is of another recipe."""
    from distill_asr.experiments.costs import write_forecast
    from distill_asr.start.cost import table

    if not options.hours:
        write_forecast(Path("exp"), _kept(stages, options), table(stages))


def _kept(stages: list[StageCost], options: ForecastOptions) -> Forecast:
    """As the report reads it."""
    from distill_asr.experiments.costs import Forecast, JobCost

    jobs = {
        stage.name: [
            JobCost(name, round(cost.seconds, 2), round(cost.memory))
            for name, cost in stage.jobs.items()
        ]
        for stage in stages
    }
    lasting = {stage.name: round(stage.wall, 2) for stage in stages}
    return Forecast(jobs, lasting, options.cores, options.nj)


def _grid(args: argparse.Namespace, script: Mapping[str, str], folder: Path) -> Grid:
    """Of a folder, which is the working directory."""
    from distill_asr.recipe.plan import Grid, Sets
    from distill_asr.recipe.systems import Systems

    systems = Systems.read(Path(os.path.relpath(Path(), folder)) / args.file)
    train, unlabelled, valid, test = (tuple(script.get(name, "").split()) for name in _SETS)
    tests = test or tuple(sorted(one.name for one in Path("data").glob("test*")))
    names = args.systems or script.get("systems")
    if names is None and "candidates" in script:
        names = f"{script.get('baseline', _PLAIN)},{script['candidates']}"
    return Grid(
        systems=systems,
        chosen=systems.chosen(names or "all"),
        seeds=tuple(range(1, args.seeds + 1)),
        sets=Sets(train or ("train",), unlabelled, valid or ("dev",), tests),
        set=tuple(args.set),
    )


def _numbers(given: list[str], option: str, problems: list[str]) -> dict[str, float]:
    numbers = {}
    for one in given:
        name, _, text = one.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name and 0 < value < math.inf:
            numbers[name] = value
        else:
            problems.append(f"{option} {one}: expected NAME=NUMBER, more than 0")
    return numbers
