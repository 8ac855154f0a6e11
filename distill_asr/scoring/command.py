"""`distill-asr score`: every system, seed and test set of a recipe in one table."""

import argparse
import sys
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.scoring.score import out_problems, write_scores
from distill_asr.scoring.systems import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.description = (
        "Score exp/<system>_seed<seed>/decode/<set>/text against dump/<set>/text, for all "
        "systems, seeds and sets. Lists are separated by commas."
    )
    parser.add_argument("--systems", required=True, type=list_of_names, help="names of the systems")
    parser.add_argument(
        "--seeds", required=True, type=list_of_seeds, help="seeds of each system, as whole numbers"
    )
    parser.add_argument("--sets", required=True, type=list_of_names, help="test sets")
    parser.add_argument("--baseline", help="system that the others are compared with (the first)")
    parser.add_argument("--control", metavar="NAME",
        help="system with an uninformative teacher; gains over it are shown, too")  # fmt: skip
    parser.add_argument("--repeat", action="append", default=[], type=repeat, metavar="NAME=SYSTEM",
        help="experiments NAME_seed<seed> repeat SYSTEM's trainings: the noise floor")  # fmt: skip
    parser.add_argument("--noise-floor", type=float, metavar="PERCENT",
        help="noise floor measured elsewhere: relative difference of errors by chance")  # fmt: skip
    parser.add_argument(
        "--exp", type=Path, default=Path("exp"), help="directory of experiments (%(default)s)"
    )
    parser.add_argument(
        "--dump", type=Path, default=Path("dump"), help="directory of prepared data (%(default)s)"
    )
    parser.add_argument(
        "--lowercase", action="store_true", help="lowercase both texts before scoring"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("exp/RESULTS.md"),
        help="file for the table; unrounded figures are written to a .json beside it (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Score; write the table, its figures and a ``score.json`` beside each text; print the table.

    Raises
    ------
    UserError : with every missing or unfit file of all systems, seeds and sets.
    """
    wanted = _comparison(args)
    scores = write_scores(wanted, args.out)
    print(scores.table, end="")
    for line in scores.missing:
        print(f"warning: {line}", file=sys.stderr)
    return 0


def list_of_names(value: str) -> list[str]:
    """Different names, split by commas; an option's type.

    Raises
    ------
    argparse.ArgumentTypeError : an empty name, or one that occurs twice.
    """
    names = [name.strip() for name in value.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{value!r}: expected different names, split by commas")
    return names


def list_of_seeds(value: str) -> list[int]:
    """Different whole numbers, split by commas; an option's type.

    Raises
    ------
    argparse.ArgumentTypeError : as ``list_of_names``, or no whole number.
    """
    try:
        return [int(name) for name in list_of_names(value)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r}: expected whole numbers") from error


def repeat(value: str) -> tuple[str, str]:
    """``NAME=SYSTEM``; an option's type.

    Raises
    ------
    argparse.ArgumentTypeError : anything else.
    """
    name, _, system = value.partition("=")
    if not name or not system:
        raise argparse.ArgumentTypeError(f"{value!r}: expected NAME=SYSTEM")
    return name, system


def _comparison(args: argparse.Namespace) -> Comparison:
    baseline = args.baseline or args.systems[0]
    problems = []
    for option, name in (("--baseline", baseline), ("--control", args.control),
                         *(("--repeat", system) for _, system in args.repeat)):  # fmt: skip
        if name is not None and name not in args.systems:
            problems.append(
                f"{option}: {name} is not among --systems {','.join(args.systems)}; add it there"
            )
    if args.control == baseline:
        problems.append(f"--control: {baseline} is the baseline; name another system")
    for name, system in args.repeat:
        if name in args.systems:
            problems.append(
                f"--repeat: {name} is a row of its own; leave it out of --systems, or out of "
                f"the repeats of {system}"
            )
    if args.noise_floor is not None and not 0 <= args.noise_floor < 100:
        problems.append(f"--noise-floor: {args.noise_floor}, expected percent from 0 to 100")
    problems += out_problems(args.out)
    if problems:
        raise UserError(problems)
    return Comparison(
        args.exp,
        args.dump,
        args.systems,
        args.seeds,
        args.sets,
        baseline,
        args.lowercase,
        args.control,
        dict(args.repeat),
        None if args.noise_floor is None else args.noise_floor / 100,
    )
