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
from typing import TYPE_CHECKING, Any

from distill_asr.decode.command import add_search_arguments
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.record import NOTES, Recogniser
from distill_asr.errors import UserError, named
from distill_asr.io.files import write_text_atomic
from distill_asr.io.locks import locked

if TYPE_CHECKING:
    from torch import nn

    from distill_asr.data.datadir import DataDir
    from distill_asr.decode.search import Hypothesis
    from distill_asr.experiments.config import ModelConfig

RECORD = "pseudo_label.json"
CONFIDENCE = "confidence"  # `id confidence` of each utterance kept
UNKNOWN = "<unk>"
OF_AUDIO = {"audio", "utterances", "reference"}  # of the record: labelled again
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
    parser.description = (
        "Writes a prepared dir of the same audio with the student's words as `text`, and "
        f"`{CONFIDENCE}`: mean log-probability a token, 0 at best."
    )
    parser.add_argument(
        "--exp", required=True, type=Path, help="experiment directory of the recogniser"
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared dir")
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


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Which utterances to keep; at most one of the limits is given.

    Parameters
    ----------
    lowest : confidence to keep, at most 0.
    share : of the utterances with words, the most confident ones.
    reference : true transcripts, to say how wrong the labels are.
    """

    lowest: float | None = None
    share: float | None = None
    reference: Mapping[str, str] | None = None

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verb's options."""
        problems = []
        if self.share is not None and not 0 < self.share <= 1:
            problems.append(f"--keep-best {self.share}: expected a share, over 0 and at most 1")
        if self.lowest is not None and not -math.inf < self.lowest <= 0:
            problems.append(
                f"--min-confidence {self.lowest}: expected the logarithm of a probability, 0 or "
                "less"
            )
        return problems

    def deciding(self) -> dict[str, object]:
        """What the output depends on, for its record."""
        known = None if self.reference is None else json.dumps(self.reference, sort_keys=True)
        return {
            "min_confidence": self.lowest,
            "keep_best": self.share,
            "reference": known and hashlib.sha256(known.encode()).hexdigest(),
        }


def run(args: argparse.Namespace) -> int:
    """Recognise, choose, write; print the report."""
    recogniser, data, options = _read(args)
    made_from = recogniser.made_from(data) | options.deciding()
    report = _finished(args.output, made_from)
    if report is None:
        with locked(args.output, f"labelling {args.data}"):
            report = _label(args.output, recogniser, data, options, made_from)
    else:
        print(f"{args.output}: labelled already")
    print(*report, sep="\n")
    return 0


def _read(args: argparse.Namespace) -> tuple[Recogniser, DataDir, PseudoLabelOptions]:
    """Check options, experiment and data.

    Raises
    ------
    UserError : with everything wrong in any of them.
    """
    from distill_asr.data.datadir import DataDir

    # confidence is the student's own: no language model
    search = DecodeOptions(
        method=args.method,
        beam_size=args.beam_size,
        ctc_weight=args.ctc_weight,
        chunk_size=args.chunk_size,
        batch_size=args.batch_size,
        device=args.device,
    )
    options = PseudoLabelOptions(args.min_confidence, args.keep_best)
    problems, recogniser, data = options.problems(), None, None
    if args.output.resolve() == args.data.resolve():
        problems.append(f"--data and --output are both {args.data}; give another --output")
    try:
        recogniser = Recogniser.read(args.exp, search, args.checkpoint)
    except UserError as error:
        problems += error.problems
    try:
        data = DataDir.read(args.data)
        options = replace(options, reference=_reference(args.reference, data))
        if data.num_samples is None:
            problems.append(f"{args.data}: has no utt2num_samples; run `distill-asr prepare`")
    except UserError as error:
        problems += error.problems
    if recogniser is None or data is None or problems:
        raise UserError(problems)
    return recogniser, data, options


def _label(
    output: Path,
    recogniser: Recogniser,
    data: DataDir,
    options: PseudoLabelOptions,
    made_from: dict[str, Any],
) -> list[str]:
    """Write the labels; give the lines of the report."""
    from distill_asr.experiments.student import load_student

    student, config = load_student(
        recogniser.experiment.directory, recogniser.checkpoint, recogniser.options.device
    )
    labels = label(data, student, config, recogniser.options)
    kept = choose(labels, options.lowest, options.share)
    report = report_lines(data, labels, kept, config.rate, options.reference)
    new = replace(data.select(kept), text={utt: labels[utt].words for utt in kept})
    write(output, new, labels, {"made_from": made_from, "report": report})
    return report


def label(
    data: DataDir, student: nn.Module, config: ModelConfig, options: DecodeOptions
) -> dict[str, Label]:
    """The words of every utterance, sorted by id."""
    from distill_asr.decode.recognise import recognise
    from distill_asr.decode.text import TokenText

    if config.model == "transducer":  # whose beam would not give its best path
        options = options.with_timestamps()
    to_words, labels = TokenText(config), {}
    for utt, (best, *_) in recognise(data, student, config, options):
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


def report_lines(
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


def write(output: Path, data: DataDir, labels: Mapping[str, Label], record: dict[str, Any]) -> None:
    """Write the prepared dir, whole or not at all; over older labels the record comes last."""
    if output.exists():
        _write_record(output, {"made_from": {}})  # a kill from here on leaves nothing that counts
        _write_files(output, data, labels)
        _write_record(output, record)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=output.parent))
    try:
        _write_files(temporary, data, labels)
        _write_record(temporary, record)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes it private
        os.rename(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_files(folder: Path, data: DataDir, labels: Mapping[str, Label]) -> None:
    data.write(folder)
    lines = "".join(f"{utt} {labels[utt].confidence:.6f}\n" for utt in data.wav)
    write_text_atomic(folder / CONFIDENCE, lines)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    write_text_atomic(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _finished(output: Path, made_from: dict[str, Any]) -> list[str] | None:
    """The report of the same labelling, done before; None where there is nothing, or other audio's.

    Raises
    ------
    UserError : ``output`` is something else.
    """
    if not output.exists():
        return None
    way_out = "remove it, or give another --output"
    if not output.is_dir():
        raise UserError(f"{output}: is a file; {way_out}")
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
        found, report = dict(record["made_from"]), record.get("report")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{output}: exists, and holds no pseudo-labels, or a damaged {RECORD}; {way_out}"
        ) from error
    if not found:  # a killed run's
        return None
    keys = sorted((made_from.keys() | found.keys()) - NOTES)
    other = [key for key in keys if made_from.get(key) != found.get(key)]
    if set(other) <= OF_AUDIO:
        return report if not other else None
    raise UserError(f"{output}: made with another {', '.join(other)}; {way_out}")


def _reference(path: Path | None, data: DataDir) -> dict[str, str] | None:
    """True words of every utterance, if known; of the data itself where no file is given."""
    from distill_asr.data.datadir import has_language_tags
    from distill_asr.scoring.wer import read_text, reference_problems

    if path is None and data.text is None:
        return None
    path = path or data.path / "text"
    texts = read_text(path, tagged=has_language_tags(path.parent))
    if missing := data.wav.keys() - texts.keys():
        raise UserError(f"{path}: no text for {named(missing)} of {data.path}")
    texts = {utt: texts[utt] for utt in data.wav}
    if problems := reference_problems(texts, path):
        raise UserError(problems)
    return texts


def _error_rate(
    reference: Mapping[str, str], labels: Mapping[str, Label], utterances: list[str]
) -> float:
    """Percent of words."""
    from distill_asr.scoring.wer import count_edits, total

    said = {utt: reference[utt] for utt in utterances}
    heard = {utt: labels[utt].words for utt in utterances}
    return 100 * total(count_edits(said, heard).values()).words.rate
