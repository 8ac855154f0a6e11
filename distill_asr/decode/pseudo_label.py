"""``distill-asr pseudo-label``: what a recogniser hears, as transcripts of unlabelled audio."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_asr.data.record import CONFIDENCE
from distill_asr.decode.command import add_search_arguments
from distill_asr.decode.labels import LabelLimits, choose
from distill_asr.decode.options import DecodeOptions
from distill_asr.errors import UserError, named
from distill_asr.experiments.layout import AVERAGED, CONFIG
from distill_asr.io.locks import locked

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir
    from distill_asr.data.normalise import TranscriptRule
    from distill_asr.decode.transcribers import Transcriber


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr pseudo-label``."""
    parser.description = (
        "Writes a prepared dir of the same audio with the recogniser's words as `text`, and "
        f"`{CONFIDENCE}`: mean log-probability a token, 0 at best."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--exp", type=Path, help="experiment directory of the recogniser")
    source.add_argument(
        "--teacher",
        type=Path,
        metavar="YAML",
        help="a teacher's file of `kind: recogniser` and `output: words`",
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared data dir to transcribe")
    parser.add_argument("--output", required=True, type=Path, help="prepared data dir to write")
    parser.add_argument(
        "--normalise-as",
        type=Path,
        metavar="DIR",
        help="write the words as `prepare` wrote the transcripts of this dir, the student's; "
        "default with --teacher: as those of --data",
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
    group = parser.add_argument_group("which utterances to keep")
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
        help="keep this share of the utterances with words and within the other limits, the most "
        "confident ones",
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
        help="how often the same one to five words may stand in a row",
    )
    group.add_argument("--min-rate", type=float, metavar="X", help="characters a second")
    group.add_argument("--max-rate", type=float, metavar="X", help="characters a second")
    group.add_argument(
        "--agree",
        type=Path,
        metavar="FILE",
        help="another recogniser: a teacher's file, or an experiment directory",
    )
    group.add_argument(
        "--max-disagreement",
        type=float,
        metavar="WER",
        help="largest word error rate of what it hears, 0.2 for 20 %%",
    )


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Which utterances to keep; ``lowest`` or ``share`` at most.

    Parameters
    ----------
    lowest : confidence to keep, at most 0.
    share : of the utterances with words, the most confident ones.
    limits : what their words may be like.
    """

    lowest: float | None = None
    share: float | None = None
    limits: LabelLimits = field(default_factory=LabelLimits)

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
        return problems + self.limits.problems()

    def deciding(self) -> dict[str, object]:
        """What the choice depends on, for the record."""
        chosen = {"min_confidence": self.lowest, "keep_best": self.share}
        return chosen | self.limits.deciding()


@dataclass(frozen=True)
class Task:
    """A labelling, checked; recognisers are loaded when they are needed.

    Parameters
    ----------
    transcriber : whose words are written.
    other : one that must agree; None without.
    reference : true transcripts, to say how wrong the labels are.
    """

    output: Path
    data: DataDir
    transcriber: Transcriber
    other: Transcriber | None
    options: PseudoLabelOptions
    reference: Mapping[str, str] | None

    def made_from(self) -> dict[str, Any]:
        """All that the output depends on."""
        from distill_asr.decode.record import made_from

        known = None if self.reference is None else json.dumps(self.reference, sort_keys=True)
        found = made_from(self.transcriber.decided_by, self.data) | self.options.deciding()
        if self.other is not None:
            found["agree"] = self.other.decided_by
        return found | {"reference": known and hashlib.sha256(known.encode()).hexdigest()}


def run(args: argparse.Namespace) -> int:
    """Recognise, choose, write; print the report."""
    from distill_asr.decode.label_dir import finished

    task = _read(args)
    made_from = task.made_from()
    report = finished(args.output, made_from)
    if report is None:
        with locked(args.output, f"labelling {args.data}"):
            report = _label(task, made_from)
    else:
        print(f"{args.output}: labelled already")
    print(*report, sep="\n")
    return 0


def _read(args: argparse.Namespace) -> Task:
    """Check options, recognisers and data.

    Raises
    ------
    UserError : with everything wrong in any of them.
    """
    from distill_asr.data.datadir import DataDir

    # confidence is the recogniser's own: no language model
    search = DecodeOptions(
        method=args.method,
        beam_size=args.beam_size,
        ctc_weight=args.ctc_weight,
        chunk_size=args.chunk_size,
        batch_size=args.batch_size,
        device=args.device,
    )
    limits = LabelLimits(
        args.max_compression, args.max_repeats, args.min_rate, args.max_rate, args.max_disagreement
    )
    options = PseudoLabelOptions(args.min_confidence, args.keep_best, limits)
    problems, found, data, reference = options.problems(), (None, None), None, None
    if (args.agree is None) != (args.max_disagreement is None):
        problems.append("--agree and --max-disagreement: each needs the other")
    if args.output.resolve() == args.data.resolve():
        problems.append(f"--data and --output are both {args.data}; give another --output")
    try:
        found = _transcribers(args, search)
    except UserError as error:
        problems += error.problems
    try:
        data = DataDir.read(args.data)
        reference = _reference(args.reference, data)
        if data.num_samples is None:
            problems.append(f"{args.data}: has no utt2num_samples; run `distill-asr prepare`")
    except UserError as error:
        problems += error.problems
    transcriber, other = found
    if transcriber is None or data is None or problems:
        raise UserError(problems)
    return Task(args.output, data, transcriber, other, options, reference)


def _transcribers(
    args: argparse.Namespace, search: DecodeOptions
) -> tuple[Transcriber | None, Transcriber | None]:
    """The recogniser and the one that is to agree, if any; UserError with all that is wrong."""
    from distill_asr.data.record import transcript_rule

    rule = transcript_rule(args.normalise_as or args.data)
    own, problems, found = args.normalise_as is None, [], []
    sources = [(args.exp or args.teacher, args.exp is not None)]
    if args.agree is not None:
        sources.append((args.agree, args.agree.is_dir()))
    for source, is_student in sources:
        try:
            if is_student:
                one = _student(source, search, args.checkpoint, None if own else rule)
            else:
                one = _from_file(source, search, args.checkpoint, rule, own)
            found.append(one)
        except UserError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise UserError(problems)
    return found[0], found[1] if len(found) > 1 else None


def _from_file(
    file: Path, search: DecodeOptions, checkpoint: str, rule: TranscriptRule | None, own: bool
) -> Transcriber:
    """A transcriber from a teacher's file.

    Parameters
    ----------
    search, checkpoint : of a student; a model of transformers has neither.
    rule : for the words.
    own : it is the data's own, which is no matter of a student.

    Raises
    ------
    UserError : everything wrong with the file or its model.
    """
    from distill_asr.decode.transcribers import PretrainedTranscriber
    from distill_asr.teachers.config import TeacherConfig

    config = TeacherConfig.read(file)
    if config.kind != "recogniser" or config.output != "words":
        raise UserError(
            f"{file}: expected `kind: recogniser` and `output: words`, found kind "
            f"{config.kind!r}, output {config.output!r}"
        )
    directory = Path(config.model).expanduser()
    if (directory / CONFIG).is_file():
        if config.language is not None:
            raise UserError(
                f"{file}: language: {config.model} is a student of ours, which knows none; "
                "remove it"
            )
        return _student(directory, search, config.checkpoint or checkpoint, None if own else rule)
    if changed := _changed(search, checkpoint):
        raise UserError(
            f"{', '.join(changed)}: of our own students; {config.model} is searched greedily, and "
            "its batches are bounded by `batch_seconds` of its file"
        )
    return PretrainedTranscriber(config, search.device, rule)


def _student(
    directory: Path, search: DecodeOptions, checkpoint: str, rule: TranscriptRule | None
) -> Transcriber:
    """A student; UserError with everything wrong with options and files."""
    from distill_asr.decode.record import SearchSetup

    recogniser = SearchSetup.read(directory, search, checkpoint)
    from distill_asr.decode.student_transcriber import StudentTranscriber

    return StudentTranscriber(recogniser, rule)


def _changed(search: DecodeOptions, checkpoint: str) -> list[str]:
    """Options of the search that were asked for."""
    plain = DecodeOptions(method="greedy")
    names = {"method": "--method", "beam_size": "--beam-size", "ctc_weight": "--ctc-weight"}
    names |= {"chunk_size": "--chunk-size", "batch_size": "--batch-size"}
    changed = [o for name, o in names.items() if getattr(search, name) != getattr(plain, name)]
    return changed + (["--checkpoint"] if checkpoint != AVERAGED else [])


def _label(task: Task, made_from: dict[str, Any]) -> list[str]:
    """Write the labels; give the lines of the report.

    What was heard lies beside the output until it is written: a kill loses little, and limits that
    leave nothing can be tried again at once.
    """
    from distill_asr.decode import record
    from distill_asr.decode.heard import hear_all
    from distill_asr.decode.label_dir import Labelling, disagreements, write

    output, data, others, files = task.output, task.data, {}, []
    output.parent.mkdir(parents=True, exist_ok=True)

    def heard(transcriber: Transcriber, name: str) -> Any:
        files.append(output.parent / f".{output.name}.{name}.jsonl")
        return hear_all(
            transcriber, data, files[-1], record.made_from(transcriber.decided_by, data)
        )

    labels = heard(task.transcriber, "heard")
    if task.other is not None:
        others = heard(task.other, "other")
    apart = disagreements(labels, others) if others else {}
    seconds = {
        utt: count / task.transcriber.rate for utt, count in (data.num_samples or {}).items()
    }
    limits = task.options.limits
    faults = {utt: limits.faults(one, seconds[utt], apart.get(utt)) for utt, one in labels.items()}
    good = {utt: one for utt, one in labels.items() if not faults[utt]}
    if not good:
        counted = Counter(fault for found in faults.values() for fault in found)
        reasons = ", ".join(f"{fault} {count}" for fault, count in counted.most_common())
        raise UserError(
            f"none of {len(labels)} utterances can be kept: {reasons}; widen the limits, or is the "
            "recogniser not trained?"
        )
    kept = choose(good, task.options.lowest, task.options.share)
    labelling = Labelling(data, labels, seconds, apart, faults, kept)
    report = labelling.report(task.reference)
    write(output, labelling, {"made_from": made_from, "report": report})
    for file in files:
        file.unlink(missing_ok=True)
    return report


def _reference(path: Path | None, data: DataDir) -> dict[str, str] | None:
    """True words of every utterance, if known; of the data itself where no file is given."""
    from distill_asr.data.record import has_language_tags
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
