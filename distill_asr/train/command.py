"""``distill-asr train``: checks everything, then hands over to ESPnet's trainer."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.io.files import write_text_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr train``."""
    parser.add_argument(
        "--config",
        required=True,
        nargs="+",
        metavar="YAML",
        help="training YAML; several are merged from left to right, as with extends",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE")
    parser.add_argument("--train", action="append", required=True, help="prepared dir, repeatable")
    parser.add_argument("--valid", action="append", required=True, help="prepared dir, repeatable")
    parser.add_argument("--output", required=True, help="experiment directory")
    parser.add_argument(
        "--init", help="take the encoder, and its statistics, over from this experiment"
    )
    parser.add_argument(
        "--init-parts",
        default="encoder",
        metavar="PARTS",
        help="parts to take over instead, such as encoder,weights,ctc of a CIF student (encoder)",
    )
    parser.add_argument("espnet", nargs="*", help="after --: options of ESPnet, such as --ngpu 1")


def run(args: argparse.Namespace) -> int:
    """Train, or continue, or do nothing where the same training is done."""
    from distill_asr.train.config import TrainConfig, TrainOptions
    from distill_asr.train.identity import Identity, is_done
    from distill_asr.train.initial import with_initial_parts

    _check_paths(args)
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
    config = TrainConfig.read(options.config, options.overrides)
    if options.init is not None:
        config = with_initial_parts(config, options.init, options.init_parts)
    identity = Identity.of(config, options)
    experiment = options.experiment
    if is_done(experiment, identity):
        print(f"{experiment.directory}: training is done already")
        return 0
    from distill_asr.train.training import train

    with experiment.lock("training") if options.leads else nullcontext():
        train(config, options, identity)
        write_text_atomic(experiment.done, identity.done_json())
    return 0


def _check_paths(args: argparse.Namespace) -> None:
    """ESPnet joins these paths with other things by a character that they must not have."""
    problems = []
    if "," in args.output:
        problems.append(f"--output {args.output}: ESPnet splits paths at commas; use another name")
    if args.init and ":" in args.init:
        problems.append(f"--init {args.init}: ESPnet splits it at colons; rename that directory")
    if problems:
        raise UserError(problems)
