"""``distill-asr export``: a student without its heads."""

from __future__ import annotations

import argparse

from distill_asr.experiments.layout import AVERAGED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr export``."""
    parser.add_argument("--exp", required=True, help="experiment directory")
    parser.add_argument("--output", required=True, help="directory for config.yaml and model.pth")
    parser.add_argument("--checkpoint", default=AVERAGED)


def run(args: argparse.Namespace) -> int:
    """Export for ``espnet2.bin.asr_inference``."""
    from distill_asr.experiments.export.espnet_model import export_model

    config, weights = export_model(args.exp, args.output, args.checkpoint)
    print(f"{config}\n{weights}")
    return 0
