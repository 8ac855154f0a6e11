"""``distill-asr pseudo-label``: what a trained student hears, as transcripts of unlabelled audio.

An utterance's confidence is the log-probability of the alignment its words come from, divided by
the number of tokens. Blanks count, each frame's for a transducer, each frame's symbol for CTC: they
cost next to nothing where there is nothing to hear, and much where a word may have been passed
over. What a transducer's beam search finds counts by its best alignment of all. Students without
blanks (CIF, joint CTC/attention) count by the score of their search.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic

if TYPE_CHECKING:
    from torch import nn

    from distill_asr.data.datadir import DataDir
    from distill_asr.decode.search import Hypothesis

RECORD = "pseudo_label.json"
CONFIDENCE = "confidence"  # `id confidence` of each utterance kept
UNKNOWN = "<unk>"
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Label:
    """Words of an utterance, and how sure the student is of them: natural logarithm, a token."""

    words: str
    confidence: float

    @property
    def usable(self) -> bool:
        """There are words, all of them in the student's vocabulary."""
        return bool(self.words) and UNKNOWN not in self.words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr pseudo-label``."""
    from distill_asr.decode.command import add_search_arguments

    parser.description = (
        "Writes a prepared dir of the same audio with the student's words as `text`, and "
        f"`{CONFIDENCE}`: mean log-probability a token, 0 at best."
    )
    parser.add_argument("--exp", required=True, help="experiment directory of the recogniser")
    parser.add_argument("--data", required=True, help="prepared dir")
    parser.add_argument("--output", required=True, type=Path, help="prepared dir to write")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--min-confidence", type=float, metavar="X", help="keep utterances of at least this"
    )
    chosen.add_argument(
        "--keep-best",
        type=float,
        metavar="SHARE",
        help="keep this share of the utterances that have words, the most confident ones",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="TEXT",
        help="true transcripts, to say how wrong the labels are; default: `text` of the data",
    )
    add_search_arguments(parser, method="greedy")
    # confidence is the student's own: no language model
    parser.set_defaults(nbest=1, timestamps=False, lm=None)


def run(args: argparse.Namespace) -> int:
    """Recognise, choose, write; print the report."""
    from distill_asr.data.datadir import DataDir
    from distill_asr.decode.command import check_options, identity
    from distill_asr.espnet.task import sampling_rate
    from distill_asr.experiments.student import load_student

    check_options(args)
    _check_choice(args)
    data = DataDir.read(args.data)
    if data.num_samples is None:
        raise UserError(f"{args.data}: has no utt2num_samples; run `distill-asr prepare`")
    reference = _reference(args, data)
    made_from = identity(args, data) | _choice(args, reference)
    report = _finished(args.output, made_from)
    if report is None:
        student, train_args = load_student(args.exp, args.checkpoint, args.device)
        labels = label(args, data, student, train_args)
        kept = choose(labels, args.min_confidence, args.keep_best)
        report = describe(data, labels, kept, sampling_rate(train_args), reference)
        new = replace(data.select(kept), text={utt: labels[utt].words for utt in kept})
        write(args.output, new, labels, {"made_from": made_from, "report": report})
    else:
        print(f"{args.output}: labelled already")
    print(*report, sep="\n")
    return 0


def label(
    args: argparse.Namespace, data: DataDir, student: nn.Module, train_args: argparse.Namespace
) -> dict[str, Label]:
    """The words of every utterance, sorted by id."""
    from distill_asr.decode.command import TokenText, recognise

    args.timestamps = train_args.model == "transducer"  # whose beam would not give its best path
    to_words, labels = TokenText(train_args), {}
    for utt, (best, *_) in recognise(args, data, student, train_args):
        labels[utt] = Label(to_words(best.tokens), confidence(best))
    return dict(sorted(labels.items()))


def confidence(best: Hypothesis) -> float:
    """Log-probability a token of the path through the hypothesis; -inf where it has none."""
    if not best.tokens:
        return -math.inf
    return (best.score if best.path_score is None else best.path_score) / len(best.tokens)


def choose(
    labels: Mapping[str, Label], lowest: float | None = None, share: float | None = None
) -> list[str]:
    """Utterances to keep, sorted; never one without words.

    Parameters
    ----------
    lowest : confidence to keep.
    share : of the utterances with words, rounded up.

    Raises
    ------
    UserError : none is left.
    """
    usable = {utt: one for utt, one in labels.items() if one.usable}
    ranked = sorted(usable, key=lambda utt: (-usable[utt].confidence, utt))
    if not ranked:
        raise UserError(f"none of {len(labels)} utterances has words; is the student trained?")
    if share is not None:
        ranked = ranked[: math.ceil(share * len(ranked))]
    if lowest is not None:
        best = usable[ranked[0]].confidence
        ranked = [utt for utt in ranked if usable[utt].confidence >= lowest]
        if not ranked:
            raise UserError(f"--min-confidence {lowest}: the best of all has {best:.4f}; lower it")
    return sorted(ranked)


def describe(
    data: DataDir,
    labels: Mapping[str, Label],
    kept: list[str],
    rate: int,
    reference: Mapping[str, str] | None,
) -> list[str]:
    """Lines of the report.

    Parameters
    ----------
    rate : of the audio, in Hz.
    """
    import numpy as np

    hours = {utt: samples / rate / 3600 for utt, samples in data.num_samples.items()}

    empty = sum(not one.words for one in labels.values())
    unknown = sum(UNKNOWN in one.words for one in labels.values())
    usable = np.array([one.confidence for one in labels.values() if one.usable])
    values = ", ".join(f"{100 * q:.0f} %: {np.quantile(usable, q):.4f}" for q in QUANTILES)
    lines = [
        f"{data.path}: {len(labels)} utterances, {sum(hours.values()):.2f} h; "
        f"{empty} without words, {unknown} with {UNKNOWN}",
        f"kept: {len(kept)} utterances ({100 * len(kept) / len(labels):.1f} %), "
        f"{sum(hours[utt] for utt in kept):.2f} h; confidence at least "
        f"{min(labels[utt].confidence for utt in kept):.4f}",
        f"quantiles of confidence: {values}",
    ]
    if reference is not None:
        rates = [f"{name} {_error_rate(reference, labels, utterances):.2f} %"
                 for name, utterances in (("all", list(labels)), ("kept", kept))]  # fmt: skip
        lines.append(f"WER of the labels: {', '.join(rates)}")
    return lines


def write(output: Path, data: DataDir, labels: Mapping[str, Label], record: dict) -> None:
    """Write the prepared dir, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    try:
        data.write(temporary)
        lines = "".join(f"{utt} {labels[utt].confidence:.6f}\n" for utt in data.wav)
        write_text_atomic(temporary / CONFIDENCE, lines)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        write_text_atomic(temporary / RECORD, text)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes it private
        os.rename(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _finished(output: Path, made_from: dict) -> list[str] | None:
    """The report of the same labelling, done before; None where there is nothing yet.

    Raises
    ------
    UserError : ``output`` is something else.
    """
    if not output.exists():
        return None
    way_out = "remove it, or give another --output"
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{output}: exists, and holds no pseudo-labels; {way_out}") from error
    found = record["made_from"]
    keys = sorted(made_from.keys() | found.keys())
    other = [key for key in keys if made_from.get(key) != found.get(key)]
    if other:
        raise UserError(f"{output}: made with another {', '.join(other)}; {way_out}")
    return record["report"]


def _reference(args: argparse.Namespace, data: DataDir) -> dict[str, str] | None:
    """True words of every utterance, if known."""
    from distill_asr.errors import named
    from distill_asr.scoring.wer import read_text, reference_problems

    path = args.reference or Path(args.data) / "text"
    if args.reference is None and data.text is None:
        return None
    texts = read_text(path)
    if missing := data.wav.keys() - texts.keys():
        raise UserError(f"{path}: no text for {named(missing)} of {args.data}")
    texts = {utt: texts[utt] for utt in data.wav}
    if problems := reference_problems(texts, path):
        raise UserError(problems)
    return texts


def _choice(args: argparse.Namespace, reference: Mapping[str, str] | None) -> dict:
    """What else the output depends on."""
    known = None if reference is None else json.dumps(reference, sort_keys=True)
    return {
        "min_confidence": args.min_confidence,
        "keep_best": args.keep_best,
        "reference": known and hashlib.sha256(known.encode()).hexdigest(),
    }


def _check_choice(args: argparse.Namespace) -> None:
    problems = []
    if args.keep_best is not None and not 0 < args.keep_best <= 1:
        problems.append(f"--keep-best {args.keep_best}: expected a share, over 0 and at most 1")
    if args.min_confidence is not None and not -math.inf < args.min_confidence <= 0:
        problems.append(
            f"--min-confidence {args.min_confidence}: expected the logarithm of a probability, "
            "0 or less"
        )
    if args.output.resolve() == Path(args.data).resolve():
        problems.append(f"--data and --output are both {args.data}; give another --output")
    if problems:
        raise UserError(problems)


def _error_rate(
    reference: Mapping[str, str], labels: Mapping[str, Label], utterances: list[str]
) -> float:
    """Percent of words."""
    from distill_asr.scoring.wer import count_edits, total

    said = {utt: reference[utt] for utt in utterances}
    heard = {utt: labels[utt].words for utt in utterances}
    return 100 * total(count_edits(said, heard).values()).words.rate
