"""``distill-asr train``: checks everything, then hands over to ESPnet's trainer."""

from __future__ import annotations

import argparse
from pathlib import Path

from distill_asr.experiments.layout import Experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr train``."""
    parser.add_argument(
        "--config",
        required=True,
        nargs="+",
        metavar="YAML",
        help="training YAML; several are merged from left to right, as with extends",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of the config; may be repeated",
    )
    parser.add_argument(
        "--train", action="append", required=True, help="prepared training dir; may be repeated"
    )
    parser.add_argument(
        "--valid", action="append", required=True, help="prepared validation dir; may be repeated"
    )
    parser.add_argument("--output", required=True, help="experiment directory to write")
    parser.add_argument("--init", help="experiment whose encoder and statistics are the start")
    parser.add_argument(
        "--init-parts",
        default="encoder",
        metavar="PARTS",
        help="parts to take from it, such as encoder,weights,ctc of a CIF student (encoder)",
    )
    parser.add_argument("espnet", nargs="*", help="options of ESPnet, after --, such as --ngpu 1")


def run(args: argparse.Namespace) -> int:
    """Train, or continue, or do nothing where the same training is done."""
    from distill_asr.train.config import TrainOptions
    from distill_asr.train.run import run_training

    options = TrainOptions(
        config=tuple(args.config),
        train=tuple(args.train),
        valid=tuple(args.valid),
        experiment=Experiment(Path(args.output)),
        overrides=tuple(args.set),
        init=Experiment(Path(args.init)) if args.init else None,
        init_parts=tuple(args.init_parts.split(",")),
        espnet=tuple(args.espnet),
    )
    if not run_training(options):
        print(f"{options.experiment.directory}: training is done already")
    return 0
