"""Options that the verbs share which recognise: which weights, where, and how to search."""

from __future__ import annotations

import argparse

from distill_asr.decode.options import DecodeOptions
from distill_asr.experiments.layout import AVERAGED


def add_student_arguments(parser: argparse.ArgumentParser, chunks: str = "") -> None:
    """``--checkpoint``, ``--chunk-size``, ``--device``; ``chunks``: more about the second."""
    parser.add_argument("--checkpoint", default=AVERAGED, help="weights file (%(default)s)")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="FRAMES",
        help=f"frames of a chunk{chunks}; default: as in training",
    )
    parser.add_argument(
        "--device", default=DecodeOptions.device, help="device, such as cuda (%(default)s)"
    )


def add_search_arguments(parser: argparse.ArgumentParser, method: str) -> None:
    """Add the options of ``add_student_arguments``, and how to search; see ``search_options``.

    Parameters
    ----------
    parser : of the verb.
    method : default of ``--method``.
    """
    add_student_arguments(parser, chunks=", for encoder chunked; 0: full context")
    parser.add_argument(
        "--method",
        choices=["beam", "greedy"],
        default=method,
        help="search; greedy: the best symbol at every step (%(default)s)",
    )
    parser.add_argument(
        "--beam-size",
        type=int,
        default=DecodeOptions.beam_size,
        help="number of hypotheses kept (%(default)s)",
    )
    parser.add_argument(
        "--ctc-weight",
        type=float,
        default=DecodeOptions.ctc_weight,
        help="weight of CTC scores, for hybrid students (%(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=DecodeOptions.batch_size,
        help="number of utterances in a batch, for a transducer's greedy search (%(default)s)",
    )


def search_options(args: argparse.Namespace) -> DecodeOptions:
    """What ``add_search_arguments`` asked for."""
    return DecodeOptions(
        method=args.method,
        beam_size=args.beam_size,
        ctc_weight=args.ctc_weight,
        chunk_size=args.chunk_size,
        batch_size=args.batch_size,
        device=args.device,
    )
