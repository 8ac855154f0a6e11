"""``distill-asr validate``: every mistake of training configs, in one report."""

from __future__ import annotations

import argparse

from distill_asr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr validate``."""
    parser.description = "Check training configs without data, and report every mistake."
    parser.add_argument("configs", nargs="+", help="training YAML files to check")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of the configs; may be repeated",
    )
    parser.add_argument(
        "--teachers",
        action="store_true",
        help="print the names of the teachers instead",
    )


def run(args: argparse.Namespace) -> int:
    """Check each file; all mistakes of all files in one report."""
    from distill_asr.train.config import TrainConfig

    overrides = tuple(args.set)
    if args.teachers:
        found = {
            name for path in args.configs for name in TrainConfig.read(path, overrides).teachers
        }
        print(*sorted(found), sep="\n")
        return 0
    from distill_asr.train.checks import check_config
    from distill_asr.train.progress import TrainLog

    problems = []
    with TrainLog():  # what other packages warn of while a student is built
        for path in args.configs:
            try:
                check_config(TrainConfig.read(path, overrides))
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(problems)
    print(f"{len(args.configs)} config(s) valid")
    return 0
