"""``distill-asr pseudo-label``: a recogniser's words as transcripts of unlabelled audio."""

from __future__ import annotations

import argparse
from pathlib import Path

from distill_asr.data.record import CONFIDENCE
from distill_asr.decode.labels import LabelLimits
from distill_asr.decode.options import PseudoLabelOptions
from distill_asr.decode.search_arguments import add_search_arguments, search_options
from distill_asr.dump.options import add_overrides, add_teacher_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr pseudo-label``."""
    parser.description = (
        "Writes a prepared dir of the same audio with the recogniser's words as `text`, and "
        f"`{CONFIDENCE}`: mean log-probability a token, 0 at best."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--exp", type=Path, help="experiment directory of the recogniser")
    add_teacher_files(source, "of `kind: recogniser` and `output: words`")
    add_overrides(parser, "such as language=ru")
    parser.add_argument("--data", required=True, type=Path, help="prepared data dir to transcribe")
    parser.add_argument("--output", required=True, type=Path, help="prepared data dir to write")
    parser.add_argument(
        "--normalise-as",
        type=Path,
        metavar="DIR",
        help="prepared data dir, such as the student's; the words are normalised as its "
        "transcripts; default with --teacher: that of --data",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="TEXT",
        help="true transcripts, to measure the labels' error rate; default: `text` of the data",
    )
    _add_limits(parser)
    add_search_arguments(parser, method="greedy")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    chosen = group.add_mutually_exclusive_group()
    chosen.add_argument(
        "--min-confidence",
        type=float,
        metavar="X",
        help="keep utterances with at least this confidence",
    )
    chosen.add_argument(
        "--keep-best",
        type=float,
        metavar="SHARE",
        help="share to keep, the most confident of the utterances within the other limits, from 0 "
        "to 1",
    )
    group.add_argument(
        "--max-compression",
        type=float,
        metavar="X",
        help="largest zlib compression ratio of a text, such as 2.4",
    )
    group.add_argument(
        "--max-repeats",
        type=int,
        metavar="N",
        help="largest number of times that the same one to five words follow each other",
    )
    group.add_argument("--min-rate", type=float, metavar="X", help="fewest characters per second")
    group.add_argument("--max-rate", type=float, metavar="X", help="most characters per second")
    group.add_argument(
        "--agree",
        type=Path,
        metavar="FILE",
        help="second recogniser to compare with: a teacher's file, or an experiment directory",
    )
    group.add_argument(
        "--max-disagreement",
        type=float,
        metavar="WER",
        help="largest word error rate of a text against that of --agree, 0.2 for 20 %%",
    )


def run(args: argparse.Namespace) -> int:
    """Recognise, choose, write; print the report."""
    from distill_asr.decode.pseudo_label import pseudo_label

    limits = LabelLimits(
        args.max_compression, args.max_repeats, args.min_rate, args.max_rate, args.max_disagreement
    )
    options = PseudoLabelOptions(
        data=args.data,
        output=args.output,
        experiment=args.exp,
        teacher=tuple(args.teacher),
        overrides=tuple(args.overrides),
        checkpoint=args.checkpoint,
        search=search_options(args),  # no language model: confidence is the recogniser's own
        agree=args.agree,
        normalise_as=args.normalise_as,
        reference=args.reference,
        lowest=args.min_confidence,
        share=args.keep_best,
        limits=limits,
    )
    print(*pseudo_label(options), sep="\n")
    return 0
