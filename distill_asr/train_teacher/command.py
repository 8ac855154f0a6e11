"""``distill-asr train-teacher``: a small teacher of a recipe's own, from a YAML.

The output is an ordinary pretrained-model directory (safetensors, tokenizer, for speech a feature
extractor) plus ``teacher_report.json``. A killed run is continued by the same command; a finished
one only scores sets that it has not scored yet.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_asr.errors import UserError

if TYPE_CHECKING:
    from distill_asr.train_teacher.settings import SpeechSettings, TextSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr train-teacher``."""
    parser.description = (
        "Train a speech model with a CTC head on a Kaldi data directory (kind: speech), or a "
        "masked language model on sentences (kind: text). docs/teachers.md lists the keys."
    )
    parser.add_argument(
        "--config",
        required=True,
        nargs="+",
        metavar="YAML",
        help="YAML that describes model and training; several are merged from left to right",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config key"
    )
    parser.add_argument(
        "--train",
        required=True,
        help="training data: a data dir with text and audio at 16 kHz; for kind: text, a data dir, "
        "or a file with one sentence in each line",
    )
    parser.add_argument("--dev", required=True, help="development data, scored after every epoch")
    parser.add_argument(
        "--test", action="append", default=[], help="test data, scored at the end; may be repeated"
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="directory to write the teacher to"
    )
    parser.add_argument("--nthreads", type=int, default=1, help="number of threads (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train unless done, score, print how good the teacher is."""
    from distill_asr.io.locks import locked
    from distill_asr.train_teacher.identity import refuse_another, set_problems
    from distill_asr.train_teacher.report import (
        is_trained,
        output_problems,
        read_report,
        teacher_lines,
        unscored,
    )
    from distill_asr.train_teacher.settings import read_settings

    problems, settings = output_problems(args.output), None
    try:
        settings = read_settings(args.config, args.set)
    except UserError as error:
        problems += error.problems
    if not is_trained(args.output):
        problems += set_problems((args.train, args.dev, *args.test), settings)
    if problems or settings is None:
        raise UserError(problems)
    with locked(args.output, "train-teacher"):
        report = None
        if is_trained(args.output):
            report = read_report(args.output)
            refuse_another(args.output, report, settings, args.train)
            print(f"{args.output}: trained before, remove it to train anew")
        if report is None or unscored(report, (args.dev, *args.test)):
            report = _train_and_score(args, settings)
    for line in teacher_lines(report):
        print(f"{args.output}: {line}")
    return 0


def _train_and_score(
    args: argparse.Namespace, settings: SpeechSettings | TextSettings
) -> dict[str, Any]:
    """Do what is missing; give the report."""
    import torch

    from distill_asr.train_teacher.kinds import teacher_training
    from distill_asr.train_teacher.report import is_trained
    from distill_asr.train_teacher.trainer import TeacherSets, score_missing, train

    torch.set_num_threads(args.nthreads)
    sets = TeacherSets(args.train, args.dev, tuple(args.test))
    training = teacher_training(settings, sets)
    if not is_trained(args.output):
        train(training, args.output)
    return score_missing(training, args.output)
