"""A recogniser's words as transcripts of unlabelled audio."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import DataDir
from distill_asr.data.normalise import TranscriptRule
from distill_asr.data.record import has_language_tags, transcript_rule
from distill_asr.decode import record
from distill_asr.decode.heard import hear_all
from distill_asr.decode.label_dir import Labelling, disagreements, finished, write
from distill_asr.decode.labels import choose_labels
from distill_asr.decode.options import DecodeOptions, PseudoLabelOptions
from distill_asr.decode.transcribers import PretrainedTranscriber, Transcriber
from distill_asr.errors import UserError, named
from distill_asr.experiments.layout import AVERAGED, CONFIG
from distill_asr.io.locks import locked
from distill_asr.scoring.wer import read_text, reference_problems
from distill_asr.teachers.config import TeacherConfig


@dataclass(frozen=True)
class _Task:
    """A labelling, checked; recognisers are loaded when they are needed.

    Parameters
    ----------
    transcriber : whose words are written.
    other : one that must agree; None without.
    reference : true transcripts, to measure the error rate of the labels.
    """

    data: DataDir
    transcriber: Transcriber
    other: Transcriber | None
    options: PseudoLabelOptions
    reference: Mapping[str, str] | None

    def made_from(self) -> dict[str, Any]:
        """All that the output depends on."""
        known = None if self.reference is None else json.dumps(self.reference, sort_keys=True)
        found = record.made_from(self.transcriber.decided_by, self.data) | self.options.deciding()
        if self.other is not None:
            found["agree"] = self.other.decided_by
        return found | {"reference": known and hashlib.sha256(known.encode()).hexdigest()}


def pseudo_label(options: PseudoLabelOptions) -> list[str]:
    """Recognise, choose, write ``options.output``; nothing where it is done already.

    Returns
    -------
    Lines of the report.

    Raises
    ------
    UserError : with everything wrong in options, recognisers or data; no utterance can be kept.
    """
    task = _checked(options)
    made_from = task.made_from()
    report = finished(options.output, made_from)
    if report is not None:
        print(f"{options.output}: labelled already")
        return report
    with locked(options.output, f"labelling {options.data}"):
        return _label(task, made_from)


def _checked(options: PseudoLabelOptions) -> _Task:
    """Check options, recognisers and data."""
    problems, found, data, reference = options.problems(), (None, None), None, None
    try:
        found = _transcribers(options)
    except UserError as error:
        problems += error.problems
    try:
        data = DataDir.read(options.data)
        reference = _reference(options.reference, data)
        if data.num_samples is None:
            problems.append(f"{options.data}: has no utt2num_samples; run `distill-asr prepare`")
    except UserError as error:
        problems += error.problems
    transcriber, other = found
    if transcriber is None or data is None or problems:
        raise UserError(problems)
    return _Task(data, transcriber, other, options, reference)


def _transcribers(options: PseudoLabelOptions) -> tuple[Transcriber | None, Transcriber | None]:
    """The recogniser and the one that is to agree, if any; UserError with all that is wrong."""
    rule = transcript_rule(options.normalise_as or options.data)
    own, problems, found = options.normalise_as is None, [], []
    sources = [(options.experiment, (options.teacher, options.overrides))]
    if options.agree is not None:
        is_directory = options.agree.is_dir()
        sources.append((options.agree if is_directory else None, ((str(options.agree),), ())))
    search, checkpoint = options.search, options.checkpoint
    for experiment, described in sources:
        try:
            if experiment is not None:
                one = _student(experiment, search, checkpoint, None if own else rule)
            else:
                config = TeacherConfig.read(*described)
                one = _described(config, search, checkpoint, rule, own)
            found.append(one)
        except UserError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise UserError(problems)
    return found[0], found[1] if len(found) > 1 else None


def _described(
    config: TeacherConfig,
    search: DecodeOptions,
    checkpoint: str,
    rule: TranscriptRule | None,
    own: bool,
) -> Transcriber:
    """A transcriber from a teacher's description.

    Parameters
    ----------
    search, checkpoint : of a student; a model of transformers has neither.
    rule : for the words.
    own : whether ``rule`` is the data's own; it then does not apply to a student.

    Raises
    ------
    UserError : everything wrong with the description or its model.
    """
    file = config.path
    if config.kind != "recogniser" or config.output != "words":
        raise UserError(
            f"{file}: expected `kind: recogniser` and `output: words`, found kind "
            f"{config.kind!r}, output {config.output!r}"
        )
    directory = Path(config.model).expanduser()
    if (directory / CONFIG).is_file():
        if config.language is not None:
            raise UserError(
                f"{file}: language: {config.model} is a student of this package, which "
                "takes no language; remove the key"
            )
        return _student(directory, search, config.checkpoint or checkpoint, None if own else rule)
    if changed := _changed(search, checkpoint):
        raise UserError(
            f"{', '.join(changed)} apply to students of this package only; {config.model} is "
            "searched greedily, and its batches are bounded by `batch_seconds` of its file"
        )
    return PretrainedTranscriber(config, search.device, rule)


def _student(
    directory: Path, search: DecodeOptions, checkpoint: str, rule: TranscriptRule | None
) -> Transcriber:
    """A student; UserError with everything wrong with options and files."""
    recogniser = record.SearchSetup.read(directory, search, checkpoint)
    from distill_asr.decode.student_transcriber import StudentTranscriber

    return StudentTranscriber(recogniser, rule)


def _changed(search: DecodeOptions, checkpoint: str) -> list[str]:
    """Options of the search that were asked for."""
    plain = DecodeOptions(method="greedy")
    names = {"method": "--method", "beam_size": "--beam-size", "ctc_weight": "--ctc-weight"}
    names |= {"chunk_size": "--chunk-size", "batch_size": "--batch-size"}
    changed = [o for name, o in names.items() if getattr(search, name) != getattr(plain, name)]
    return changed + (["--checkpoint"] if checkpoint != AVERAGED else [])


def _label(task: _Task, made_from: dict[str, Any]) -> list[str]:
    """Write the labels; give the lines of the report.

    The labels lie beside the output until it is written, so a kill loses little, and after
    limits that keep no utterance others can be tried without recognising again.
    """
    output, data, others, files = task.options.output, task.data, {}, []
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
    kept = choose_labels(good, task.options.lowest, task.options.share)
    labelling = Labelling(data, labels, seconds, apart, faults, kept)
    report = labelling.report(task.reference)
    write(output, labelling, {"made_from": made_from, "report": report})
    for file in files:
        file.unlink(missing_ok=True)
    return report


def _reference(path: Path | None, data: DataDir) -> dict[str, str] | None:
    """True words of every utterance, or None; from the data itself if no file is given."""
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
