"""`distill-asr report`: one HTML page of experiments, or tables of a recipe's languages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.io.files import write_text_atomic
from distill_asr.io.locks import locked
from distill_asr.report import languages_command as languages
from distill_asr.scoring.command import list_of_names, repeat
from distill_asr.scoring.score import out_problems

if TYPE_CHECKING:
    from distill_asr.report.experiments import Study
    from distill_asr.report.page import Paint

_PAGE, PAGES = Path("exp/report.html"), (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.usage = (
        "%(prog)s EXPERIMENT ... [options]\n"
        "       %(prog)s --languages CODES --baseline NAME --candidates NAMES --seeds LIST "
        "[options]"
    )
    parser.description = (
        "Write one HTML page about experiments: error rates with intervals, learning curves, "
        "every utterance with its audio and the differences between systems, the changes by "
        "distillation, provenance. It opens with a double click and needs no network. With "
        "--languages: "
        "a table of a recipe's languages instead. Lists are separated by commas."
    )
    add = parser.add_argument
    add("experiments", nargs="*", type=Path, metavar="EXPERIMENT",
        help="directories of trainings, such as exp/*_seed*")  # fmt: skip
    add("--baseline", metavar="NAME", help="system that the others are compared with (`baseline` "
        "or `plain` if there is one, otherwise the first)")  # fmt: skip
    add("--dump", metavar="DIR", help="prepared data (dump, beside the experiments' folder)")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"file to write ({_PAGE}; with --languages {languages.TABLE})",
    )
    page = parser.add_argument_group("the page")
    add = page.add_argument
    add(
        "--sets",
        type=list_of_names,
        help="test sets (default: those that every system was decoded on)",
    )
    add("--title", help="heading of the page (name of the recipe's folder)")
    add(
        "--control",
        metavar="NAME",
        help="system whose teacher is a control; the page also shows gains over it",
    )
    add("--repeat", action="append", default=[], type=repeat, metavar="NAME=SYSTEM",
        help="experiments NAME_seed<seed> repeat SYSTEM's trainings: the noise floor")  # fmt: skip
    add("--noise-floor", type=float, metavar="PERCENT",
        help="noise floor measured elsewhere: relative difference of errors by chance")  # fmt: skip
    add("--lowercase", action="store_true", help="lowercase both texts before scoring")
    add("--audio", choices=("embed", "link", "none"),
        help="embed audio, link to the files, or neither (default: embed what fits)")  # fmt: skip
    add("--audio-mb", type=float, default=50, metavar="MB",
        help="largest amount of audio to embed, in MB of 16-bit samples (%(default)s)")  # fmt: skip
    add("--pictures", type=int, default=6, metavar="N",
        help="number of utterances in each set with pictures of CTC and CIF, those that the last "
        "system changes most; 0 for none (%(default)s)")  # fmt: skip
    languages.add_options(parser.add_argument_group("tables by language"))


def run(args: argparse.Namespace) -> int:
    """Write the page, or the languages' table.

    Raises
    ------
    UserError : with everything missing or unfit.
    """
    if args.languages is not None:
        if args.experiments:
            raise UserError("--languages: give it or experiments, not both")
        return languages.run(args)
    if not args.experiments:
        raise UserError("no experiments given, such as exp/*_seed1; or give --languages")
    from distill_asr.report.experiments import Wanted, find_study
    from distill_asr.report.page import Options, write_page

    out = args.out or _PAGE
    floor, problems = args.noise_floor, out_problems(out, PAGES)
    if floor is not None and not 0 <= floor < 100:
        problems.append(f"--noise-floor: {floor}, expected percent from 0 to 100")
    if args.pictures < 0:
        problems.append(f"--pictures: {args.pictures}, expected 0 or more")
    if problems:
        raise UserError(problems)
    wanted = Wanted(
        args.experiments,
        Path(args.dump) if args.dump else None,
        args.sets,
        args.baseline,
        args.control,
        dict(args.repeat),
        None if floor is None else floor / 100,
        args.lowercase,
    )
    study = find_study(wanted)
    folder = study.experiments[0].directory.resolve().parent.parent
    title = args.title or "/".join(folder.parts[-2:])
    with locked(out, "reporting"):
        paint = _paint(study, args.pictures)
        page = write_page(
            study, Options(title, args.audio, args.audio_mb, args.pictures, paint), out
        )
        write_text_atomic(out, page)
    print(f"{out}: {len(page) / 1e6:.1f} MB, {len(study.experiments)} experiments")
    return 0


def _paint(study: Study, count: int) -> Paint | None:
    """What computes the pictures; ESPnet is loaded only where there is something to compute."""
    if not count or study.comparison is None:
        return None
    wanted = study.comparison
    systems = [Experiment(wanted.exp / f"{s}_seed{wanted.seeds[0]}") for s in wanted.systems]
    lacking = [one for one in systems if not (one.config.is_file() and one.model.is_file())]
    if lacking:
        names = ", ".join(one.directory.name for one in lacking)
        study.notes.append(f"No pictures of CTC and CIF: the model of {names} is not there.")
        return None
    from distill_asr.report.pictures import paint

    return paint
