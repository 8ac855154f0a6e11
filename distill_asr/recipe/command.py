"""``distill-asr recipe``: what the stages of a recipe compute, from its ``conf/systems.yaml``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError

if TYPE_CHECKING:
    from distill_asr.recipe.plan import Grid

ACTIONS = {
    "list": "print the names of the systems that --systems means",
    "check": "check every config that the files name",
    "teachers": "train the recipe's own teachers, or take those in teachers/; score them",
    "recogniser": "train the recogniser, decode with it, label with it, if a system needs it",
    "dump": "dump the targets of every teacher for the sets whose trainings use them",
    "pretrain": "train stage 1 of the systems",
    "train": "train stages 1 and 2; a system's stage 2 starts when its stage 1 is done",
    "decode": "decode the test sets with every system",
    "score": "score all systems in one table, and the recipe's own teachers",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr recipe``."""
    listing = "\n".join(f"  {action:<12}{what}" for action, what in ACTIONS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Run this in a recipe's directory. It prints each command as you can type it, and skips "
        f"finished work.\n\nactions:\n{listing}"
    )
    add = parser.add_argument
    add("action", choices=ACTIONS, metavar="ACTION", help="what to do, from the list above")
    add("files", nargs="*", type=Path, metavar="SYSTEMS.yaml", help="grids to check")
    add(
        "--file", type=Path, default=Path("conf/systems.yaml"), help="grid of systems (%(default)s)"
    )
    add("--systems", default="all", metavar="NAMES", help="systems, separated by commas (all)")
    add("--seeds", default="1", metavar="LIST", help="seeds, separated by commas (1)")
    add("--nj", type=int, default=1, help="number of commands that run at a time (1)")
    add(
        "--cmd",
        default="",
        metavar="WORDS",
        help="words to put before each command, such as 'srun -c 4'",
    )
    add("--ngpu", type=int, default=0, help="number of GPUs for a training (0)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of every training's config; may be repeated",
    )
    add(
        "--train-sets",
        nargs="+",
        default=["train"],
        metavar="SET",
        help="labelled training sets (train)",
    )
    add("--unlabelled-sets", nargs="*", default=[], metavar="SET", help="unlabelled training sets")
    add("--valid-sets", nargs="+", default=["dev"], metavar="SET", help="validation sets (dev)")
    add("--test-sets", nargs="*", default=[], metavar="SET", help="sets to decode and score")
    for verb in ("dump", "decode", "pseudo-label"):
        option = f"--{verb.removesuffix('-label')}-opts"
        add(option, default="", metavar="WORDS", help=f"further options of distill-asr {verb}")
    add(
        "--baseline",
        metavar="NAME",
        help="score: system that the others are compared with (the first)",
    )
    add("--control", metavar="NAME", help="score: system whose teacher is a control")
    add("--train-teachers", choices=("true", "false"), default="false",
        help="true: train teachers even if teachers/ has their weights (false)")  # fmt: skip
    add("--folders", nargs="+", type=Path, metavar="DIR",
        help="folders to run in, such as langs/ta langs/ka")  # fmt: skip
    add("--chosen", type=Path, metavar="FILE",
        help="decode: add the system that `report --choose` wrote for the folder")  # fmt: skip
    add("--dry-run", action="store_true", help="print the commands and run none")


def run(args: argparse.Namespace) -> int:
    """Plan the action and run its commands."""
    from distill_asr.recipe import plan
    from distill_asr.recipe.jobs import run_jobs
    from distill_asr.recipe.stages import print_teachers, run_scores, take_teachers

    if args.action == "check":
        return _check(args.files or [args.file])
    grids = _grids(args)
    if args.action == "list":
        print(*(system.name for system in grids[0].chosen))
        return 0
    dump, decode, pseudo = map(plan.words, (args.dump_opts, args.decode_opts, args.pseudo_opts))
    jobs = {
        "teachers": lambda grid: plan.teacher_jobs(grid, args.set),
        "recogniser": lambda grid: plan.recogniser_jobs(grid, decode, pseudo),
        "dump": lambda grid: plan.dump_jobs(grid, dump),
        "pretrain": plan.pretrain_jobs,
        "train": plan.train_jobs,
        "decode": lambda grid: plan.decode_jobs(grid, decode),
        "score": lambda grid: plan.score_jobs(grid, args.baseline, args.control),
    }[args.action]
    planned = [job for grid in grids for job in jobs(grid)]
    if args.dry_run:
        print(*(job.typed() for job in planned), sep="\n")
        return 0
    if args.action == "teachers" and args.train_teachers == "false":
        for grid in grids:
            take_teachers(grid)
    if args.action == "score":
        run_scores(planned)
        for grid in grids:
            print_teachers(grid)
    else:
        run_jobs(planned, args.nj, lambda line: print(line, flush=True))
    return 0


def _grids(args: argparse.Namespace) -> list[Grid]:
    """The grid of the options; once in each folder where some are given."""
    from distill_asr.recipe.languages import in_folders, with_chosen
    from distill_asr.recipe.plan import Grid, Sets, words
    from distill_asr.recipe.systems import Systems

    if args.nj < 1:
        raise UserError(f"--nj: given {args.nj}, expected at least 1")
    systems = Systems.read(args.file)
    grid = Grid(
        systems=systems,
        chosen=systems.chosen(args.systems),
        seeds=_seeds(args.seeds),
        sets=Sets(
            *map(tuple, (args.train_sets, args.unlabelled_sets, args.valid_sets, args.test_sets))
        ),
        cmd=words(args.cmd),
        set=(f"ngpu={args.ngpu}", *args.set),
    )
    grids = in_folders(grid, args.folders) if args.folders else [grid]
    if args.chosen is not None:
        grids = [with_chosen(one, args.chosen) for one in grids]
    return grids


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        raise UserError(f"--seeds: given {text!r}, expected whole numbers such as 1,2") from None


def _check(files: list[Path]) -> int:
    from distill_asr.recipe.check import check_systems

    problems = []
    for path in files:
        try:
            print(f"{path}: {check_systems(path)} trainings are right", flush=True)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return 0
