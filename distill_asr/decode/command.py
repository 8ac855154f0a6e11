"""``distill-asr decode``: a trained student on prepared dirs."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.decode.options import DecodeOptions, FusionOptions
from distill_asr.decode.record import Decoding, SearchSetup, note_seconds
from distill_asr.decode.search_arguments import add_search_arguments, search_options
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.io.locks import locked
from distill_asr.io.occupied import DECODING, occupied

if TYPE_CHECKING:
    from torch import nn

    from distill_asr.data.datadir import DataDir
    from distill_asr.experiments.config import ModelConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr decode``."""
    parser.description = (
        "Recognise prepared data dirs with a trained student. Writes `text`, `nbest.jsonl` and "
        "`decode.json`."
    )
    parser.add_argument("--exp", required=True, type=Path, help="experiment directory")
    parser.add_argument("--data", required=True, nargs="+", type=Path, help="prepared data dirs")
    parser.add_argument(
        "--output",
        type=Path,
        help="directory for one data dir; default: <exp>/decode/<name of the data dir>",
    )
    add_search_arguments(parser, method="beam")
    parser.add_argument(
        "--nbest", type=int, default=DecodeOptions.nbest, help="number of texts kept (%(default)s)"
    )
    parser.add_argument(
        "--timestamps",
        action="store_true",
        help="add the frame of every token to a transducer's beam search; the other searches "
        "always give it",
    )
    group = parser.add_argument_group("language model (beam search)")
    group.add_argument(
        "--lm",
        metavar="DIR",
        type=Path,
        help="output of ESPnet's language model training, for shallow fusion",
    )
    group.add_argument(
        "--lm-checkpoint",
        default=FusionOptions.checkpoint,
        help="weights file of the language model (%(default)s)",
    )
    group.add_argument(
        "--lm-weight",
        type=float,
        default=FusionOptions.weight,
        help="factor of the language model's log-probability (%(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="decode again, even if nothing has changed"
    )


def run(args: argparse.Namespace) -> int:
    """Write ``text`` (best), ``nbest.jsonl`` and ``decode.json`` into each output directory."""
    recogniser, decodings = _plan(args)
    open_ones = []
    for one in decodings:
        if one.done and not args.overwrite:
            print(f"{one.output}: decoded already")
        else:
            open_ones.append(one)
    if open_ones:
        from distill_asr.experiments.student import load_student

        options = recogniser.options
        student, config = load_student(args.exp, recogniser.checkpoint, options.device)
        for one in open_ones:
            with locked(one.output, f"decoding {one.data.path}"):
                begun = time.monotonic()
                found = decode(one.data, student, config, options)
                one.write(found)
                print(f"{one.output}/text: {len(found['text'])} utterance(s)")
                if args.output is None:
                    seconds = time.monotonic() - begun
                    note_seconds(recogniser.experiment, one.output.name, seconds)
    return 0


def _plan(args: argparse.Namespace) -> tuple[SearchSetup, list[Decoding]]:
    """What is asked for, a decoding for each data dir.

    Raises
    ------
    UserError : with everything wrong in the options, the experiment and the data dirs.
    """
    from distill_asr.data.datadir import DataDir

    problems = _output_problems(args)
    recogniser, read = None, []
    try:
        recogniser = SearchSetup.read(args.exp, _options(args), args.checkpoint)
    except UserError as error:
        problems += error.problems
    for path in args.data:
        try:
            read.append(DataDir.read(path))
        except UserError as error:
            problems += error.problems
    if recogniser is None or problems:
        raise UserError(problems)
    decodings = []
    for path, data in zip(args.data, read, strict=True):
        output = args.output or Experiment(args.exp).decoded(path.resolve().name)
        decodings.append(Decoding(data, output, recogniser.made_from(data)))
    return recogniser, decodings


def _options(args: argparse.Namespace) -> DecodeOptions:
    fusion = FusionOptions(args.lm, args.lm_checkpoint, args.lm_weight) if args.lm else None
    search = search_options(args)
    return replace(search, nbest=args.nbest, timestamps=args.timestamps, fusion=fusion)


def _output_problems(args: argparse.Namespace) -> list[str]:
    names = [path.resolve().name for path in args.data]
    problems = [
        f"--data: {names.count(name)} data dirs are named {name}; decode them one by one, each "
        "with an --output of its own"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if args.output is None:
        default = Experiment(args.exp).decoded
        places = [found for name in names for found in occupied(default(name), DECODING, "decode")]
        return problems + places
    if len(names) > 1:
        problems.append(f"--output {args.output}: expected one data dir with it, not {len(names)}")
    return problems + occupied(args.output, DECODING, "--output")


def decode(
    data: DataDir, student: nn.Module, config: ModelConfig, options: DecodeOptions
) -> dict[str, list[str]]:
    """Lines of ``text`` and ``nbest.jsonl``, sorted by utterance id.

    Parameters
    ----------
    data, student, config, options : as of ``recognise.recognise``.
    """
    from distill_asr.decode.greedy import step_ms
    from distill_asr.decode.recognise import recognise
    from distill_asr.decode.text import TokenText

    to_words, rows, timed = TokenText(config), {}, {}
    for utt, found in recognise(data, student, config, options):
        best = to_words.best(found)
        if not timed and any(one.frames is not None for one in found):
            timed = {"step_ms": step_ms(student, config.rate)}
        ranked = [to_words.entry(words, one) for words, one in best.items()]
        rows[utt] = {"utt": utt, "nbest": ranked} | timed
    rows = dict(sorted(rows.items()))
    return {
        "text": [f"{utt} {row['nbest'][0]['text']}".rstrip() for utt, row in rows.items()],
        "nbest.jsonl": [json.dumps(row, ensure_ascii=False) for row in rows.values()],
    }
