"""``distill-asr init``: from recordings to a recipe that can be run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError

if TYPE_CHECKING:
    from distill_asr.start.init import InitOptions, Result
    from distill_asr.start.recipe_files import SetFacts

_TIMES = ("start", "end", "duration")  # of an utterance in a longer recording
_PARTS = ("audio", "text", "speaker", "language", "split", *_TIMES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr init``."""
    parser.usage = "%(prog)s DIR --from SRC ... [--unlabelled SRC ...] [options]"
    parser.description = (
        "Write a recipe folder for recordings of your own. Sources are found by their content: a "
        "Kaldi data directory or ESPnet's dump/raw; a folder of audio with a CSV, TSV or JSON "
        "Lines of texts; a Hugging Face data set; lhotse manifests; a language of Common Voice. "
        "Audio stays where it is. It asks no questions: it prints every choice, and an option "
        "changes it."
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="recipe folder to write")
    add("--from", dest="sources", nargs="+", type=Path, default=[], metavar="SRC",
        help="sources of audio with transcripts")  # fmt: skip
    add("--unlabelled", nargs="+", type=Path, default=[], metavar="SRC",
        help="sources of audio without transcripts, used in stage 1")  # fmt: skip
    add("--kind", help="kind of the --from sources, which is otherwise found by content; a dotted "
        "path for a reader of your own")  # fmt: skip
    add("--skip-bad", action="store_true", help="leave out recordings that cannot be used")
    add("--force", action="store_true", help="overwrite files that you have edited")
    add("--nj", type=int, default=min(4, os.cpu_count() or 1),
        help="number of processes that read audio (%(default)s)")  # fmt: skip
    _add_reading(parser)
    _add_sets(parser)
    _add_training(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    for part in _PARTS:
        unit = " in seconds" if part in _TIMES else ""
        what = f"name of the column of the {part}{unit}"
        group.add_argument(f"--{part}-column", metavar="NAME", help=what)
    add = group.add_argument
    add("--delimiter", metavar="CHARACTER", help="character between the cells of a table")
    add(
        "--audio-root",
        type=Path,
        metavar="DIR",
        help="directory that the paths of a table are relative to",
    )
    add("--speaker-pattern", metavar="REGEX",
        help="pattern for a recording's path; its first group is the speaker")  # fmt: skip
    add("--untold", choices=("unlabelled", "leave-out"), default="unlabelled",
        help="what happens to audio that a table does not name (%(default)s)")  # fmt: skip
    add("--allow-pipes", action="store_true", help="run the commands in a wav.scp")
    add("--language", metavar="CODE", help="language of the transcripts, such as de")
    add(
        "--several-languages", action="store_true", help="train one student for all languages found"
    )
    add("--normalise", choices=("auto", "unicode", "letters_only", "none"), default="auto",
        help="normalisation of texts; auto: unicode if there is punctuation or case")  # fmt: skip


def _add_sets(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sets")
    add = group.add_argument
    add("--split-by", choices=("speaker", "utterance"),
        help="what the sets are split by; default: speaker, if three are known")  # fmt: skip
    add("--dev-share", type=float, default=0.05, help="share of the hours for dev (%(default)s)")
    add("--test-share", type=float, default=0.1, help="share of the hours for test (%(default)s)")
    add("--set", action="append", default=[], metavar="SPLIT=SET",
        help="set that a split of the source goes to: train, dev, test or unlab")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of the split into sets (%(default)s)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("student and teachers")
    add = group.add_argument
    add(
        "--student",
        choices=("1m", "10m", "30m"),
        help="number of parameters; default: by hours and machine",
    )
    add("--streaming", action="store_true", help="make a streaming student")
    add(
        "--predictor",
        choices=("lstm", "stateless"),
        default="lstm",
        help="the transducer's predictor; sherpa-onnx runs stateless ones only (%(default)s)",
    )
    add("--tokens", choices=("char", "bpe"), help="units; default: by script and hours")
    add("--vocab-size", type=int, help="number of tokens with --tokens bpe")
    add(
        "--epochs",
        type=int,
        help="epochs of the baseline; the distilled system gets as many updates",
    )
    add("--batch-seconds", type=float, help="seconds of audio in a batch, padding included")
    add("--teacher", action="append", default=[], metavar="MODEL",
        help="a speech model: directory or hub id; default: by language and cache")  # fmt: skip
    add("--teacher-count", type=int, default=2, help="number of teachers to choose (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the recipe, check it, report what was found and what comes next."""
    from distill_asr.start.init import init_recipe
    from distill_asr.start.machine import Machine

    problems: list[str] = []
    options = _options(args, problems)
    if problems:
        raise UserError(problems + options.problems())
    result = init_recipe(options, Machine.this_one(), check_recipe)
    _report(args.folder, result)
    return 0


def check_recipe(folder: Path) -> None:
    """Raise UserError where the data or a config of a recipe is not right."""
    from distill_asr.recipe.check import check_systems
    from distill_asr.start.init import check_tables
    from distill_asr.train.progress import TrainLog

    check_tables(folder)
    with TrainLog():  # what other packages warn of while a student is built
        check_systems(folder / "conf/systems.yaml")


def _options(args: argparse.Namespace, problems: list[str]) -> InitOptions:
    """What is asked for; words that cannot be read are added to ``problems``."""
    from distill_asr.start.choices import Wishes
    from distill_asr.start.contract import Columns, ReadOptions
    from distill_asr.start.init import InitOptions
    from distill_asr.start.splits import SplitOptions

    named = {}
    for given in args.set:
        split, equals, name = given.rpartition("=")
        if equals:
            named[split] = name
        else:
            problems.append(f"--set {given}: expected SPLIT=SET, such as other=train")
    columns = Columns(**{part: getattr(args, f"{part}_column") for part in _PARTS})
    if args.delimiter is not None and len(args.delimiter) != 1:
        problems.append(f"--delimiter {args.delimiter!r}: expected one character")
    return InitOptions(
        args.folder,
        tuple(args.sources),
        tuple(args.unlabelled),
        args.kind,
        ReadOptions(columns, args.delimiter, args.audio_root, allow_pipes=args.allow_pipes),
        SplitOptions(args.split_by, args.dev_share, args.test_share, named, args.seed),
        Wishes(
            args.student, args.streaming, args.tokens, args.vocab_size, args.epochs,
            args.batch_seconds, args.predictor,
        ),
        args.speaker_pattern,
        args.language,
        args.several_languages,
        args.normalise,
        args.untold,
        tuple(args.teacher),
        args.teacher_count,
        args.skip_bad,
        args.force,
        args.nj,
    )  # fmt: skip


def _report(folder: Path, result: Result) -> None:
    data = result.data
    for source in data.sources:
        print(f"{source.path}: {source.kind}, {len(source.clips)} utterance(s)")
        print(*(f"  {note}" for note in source.notes), sep="\n", end="\n" * bool(source.notes))
    print(*_table(result.facts), sep="\n")
    print(f"machine: {result.machine}")
    print(*result.reasons, sep="\n")
    for line in data.notes:
        print(f"note: {line}")
    for line in data.split.warnings:
        print(f"warning: {line}", file=sys.stderr)
    if data.skipped:
        count = len(data.skipped)
        where = folder / "left_out.txt"
        print(f"warning: {count} problem(s): left out, see {where}", file=sys.stderr)
    written = result.written
    for name in written.kept:
        print(f"kept: {folder / name}, which you have edited (--force overwrites it)")
    count = len(written.new) + len(written.changed)
    print(f"{folder}: {count} file(s) written, {len(written.removed)} removed; checked")
    print(f"next: cd {shlex.quote(str(folder))} && ./run.sh")


def _table(facts: dict[str, SetFacts]) -> list[str]:
    width = max(map(len, ("set", *facts)))
    lines = [f"{'set':<{width}}  utterances    hours  speakers"]
    for name, one in facts.items():
        speakers = "not known" if one.speakers is None else str(one.speakers)
        lines.append(f"{name:<{width}}  {one.utterances:>10}  {one.hours:>7.2f}  {speakers:>8}")
    return lines
