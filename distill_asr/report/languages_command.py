"""`distill-asr report --languages`: what distillation gives each language of a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.io.locks import locked
from distill_asr.scoring.command import list_of_names, list_of_seeds
from distill_asr.scoring.languages import (
    LANGUAGE,
    LanguageStudy,
    Layout,
    choose,
    compare_languages,
    figures,
)
from distill_asr.scoring.score import out_problems, write_json

TABLE = Path("exp/REPORT.md")


def add_options(group: argparse._ArgumentGroup) -> None:
    """Options of the tables by language."""
    group.description = (
        "Choose a system for each language by its WER on the dev set, score it on the test set "
        f"against --baseline, and report all languages by their training audio. {LANGUAGE} in a "
        "path or a set's name stands for the language's code."
    )
    add, layout = group.add_argument, Layout()
    add("--languages", type=list_of_names, metavar="CODES", help="codes of the languages")
    add("--candidates", type=list_of_names, metavar="NAMES", help="systems to choose from on dev")
    add(
        "--seeds",
        type=list_of_seeds,
        metavar="LIST",
        help="seeds of each system",
    )
    add("--exp", default=layout.exp, metavar="DIR", help="directory of experiments (%(default)s)")
    for part in ("train", "dev", "test"):
        add(
            f"--{part}-set",
            default=part,
            metavar="SET",
            help=f"name of the {part} set (%(default)s)",
        )
    add("--together", action="store_true", help="choose one system for all languages")
    add("--choose", type=Path, metavar="FILE",
        help="only choose: lines `LANGUAGE SYSTEM`; `all SYSTEM` with --together")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the choice, or table, figures and picture; print the table.

    Raises
    ------
    UserError : with every missing or unfit file of all languages.
    """
    study = _study(args)
    if args.choose is not None:
        chosen, _ = choose(study)
        if study.together:
            chosen = {"all": chosen[study.languages[0]]}
        lines = "".join(f"{language} {system}\n" for language, system in chosen.items())
        write_text_atomic(args.choose, lines)
        print(lines, end="")
        return 0
    from distill_asr.scoring.languages_table import languages_markdown
    from distill_asr.scoring.picture import save_picture

    results = compare_languages(study)
    table = languages_markdown(study, results)
    out = args.out or TABLE
    picture = out.with_suffix(".png")
    with locked(out, "reporting"):
        write_json(out.with_suffix(".json"), figures(study, results))
        save_picture(picture, study, results)
        write_text_atomic(out, f"{table}\n![by language]({picture.name})\n")
    print(table, end="")
    return 0


def _study(args: argparse.Namespace) -> LanguageStudy:
    problems = [
        f"--{option}: missing, --languages needs it"
        for option in ("baseline", "candidates", "seeds")
        if getattr(args, option) is None
    ]
    problems += [] if args.out is None else out_problems(args.out)
    sets = (args.train_set, args.dev_set, args.test_set)
    layout = Layout(args.exp, args.dump or Layout.dump, *sets)
    for part, which in (("dump", "train_set"), ("exp", "test_set")):
        both = getattr(layout, part) + getattr(layout, which)
        if len(args.languages) > 1 and LANGUAGE not in both:
            problems.append(
                f"--{part} {getattr(layout, part)}, --{which.replace('_', '-')} "
                f"{getattr(layout, which)}: all languages would be the same; write {LANGUAGE} "
                "in one of them"
            )
    if problems:
        raise UserError(problems)
    return LanguageStudy(
        args.languages, args.baseline, args.candidates, args.seeds, layout, args.together
    )
