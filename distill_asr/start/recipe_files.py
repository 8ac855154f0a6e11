"""The files of a recipe but its data: configs, run.sh, README."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.yaml import load_config
from distill_asr.start.choices import BPE, LSTM, Choices
from distill_asr.start.contract import DEV, TRAIN, UNLABELLED
from distill_asr.start.pretrained import ChosenTeacher

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
COMMON = ROOT / "egs/common"
_STUDENTS = ROOT / "conf/student"
BPE_MODEL = "dump/bpe.model"
DELAY = 160  # ms by which a streaming student's states come after the teacher's
_SYSTEM = "distilled"


@dataclass(frozen=True)
class SetFacts:
    """What a set holds, for tables."""

    utterances: int
    hours: float
    speakers: int | None  # None: not known


@dataclass(frozen=True)
class Preparation:
    """What ``prepare`` is asked for besides its defaults."""

    normalise: str | None
    language: str | None
    channel: str | None
    allow_pipes: bool

    def options(self) -> str:
        """As on its command line."""
        words = [] if self.normalise is None else ["--normalise", self.normalise]
        if self.language is not None and self.normalise is not None:
            words += ["--language", self.language]
        words += [] if self.channel is None else ["--channel", self.channel]
        return " ".join(words + ["--allow-pipes"] * self.allow_pipes)


def require_checkout() -> None:
    """Raise UserError where the package was installed without the scripts of its recipes."""
    missing = [str(one) for one in (COMMON / "distill.sh", _STUDENTS) if not one.exists()]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not there; recipes need the checkout of distill_asr: "
            "`pip install -e` it"
        )


def config_files(
    choices: Choices, teachers: Sequence[ChosenTeacher], streaming: bool, unlabelled: bool
) -> dict[str, str]:
    """``conf/``, contents by name: the student and what it extends, teachers, methods, systems.

    Parameters
    ----------
    choices : student, tokens and schedule.
    teachers : of the distilled system.
    streaming : the student streams.
    unlabelled : there is audio without transcripts.
    """
    files = {f"conf/{name}": text for name, text in _student_bases(choices.base).items()}
    files["conf/student.yaml"] = _student(choices)
    for teacher in teachers:
        files[f"conf/teacher/{teacher.name}.yaml"] = _teacher(teacher)
        files[f"conf/method/{teacher.name}.yaml"] = _method(teacher)
    files["conf/systems.yaml"] = _systems(choices, teachers, streaming, unlabelled)
    return files


def run_script(
    choices: Choices, preparation: Preparation, test_sets: Sequence[str], unlabelled: bool
) -> str:
    """``run.sh``.

    Parameters
    ----------
    choices : tokens and resources.
    preparation : options of ``prepare``.
    test_sets : names.
    unlabelled : there is audio without transcripts.
    """
    options = {
        "--train_sets": TRAIN,
        "--unlabelled_sets": UNLABELLED if unlabelled else "",
        "--valid_set": DEV,
        "--test_sets": " ".join(test_sets),
        "--prepare_opts": preparation.options(),
        "--token_type": choices.tokens,
        "--token_opts": "",
        "--teacher_opts": "--device cuda" if choices.ngpu else "",
    }
    if choices.tokens == BPE:
        options["--token_opts"] = f"--vocab-size {choices.vocabulary} --bpe-model {BPE_MODEL}"
    given = " ".join(f"{name} {shlex.quote(value)}" for name, value in options.items() if value)
    return f"""#!/usr/bin/env bash
# Written by distill-asr init. The data lies in data/; stages are skipped where they are done.
# ./run.sh                    all stages;  ./run.sh --help  for the options
# distill-asr plan .          what it will take
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
common=${{DISTILL_ASR:-{shlex.quote(str(ROOT))}}}/egs/common # DISTILL_ASR: another checkout
. "$common/path.sh"

exec bash "$common/distill.sh" --stage 2 --nj {choices.nj} --ngpu {choices.ngpu} \\
    {given} "$@"
"""


def readme(
    title: str,
    facts: Mapping[str, SetFacts],
    reasons: Sequence[str],
    warnings: Sequence[str],
) -> str:
    """``README.md``: what is here, why, and the next command.

    Parameters
    ----------
    title : the recipe's.
    facts : size of each set by its name.
    reasons : a line for each choice.
    warnings : a line for each doubt.
    """
    rows = [
        f"| {name} | {one.utterances} | {one.hours:.2f} | "
        f"{'not known' if one.speakers is None else one.speakers} |"
        for name, one in facts.items()
    ]
    chosen = "\n".join(f"* {_plain(reason)}" for reason in reasons)
    doubts = "\n".join(f"* {_plain(warning)}" for warning in warnings)
    return f"""# {_plain(title)}

A recipe that `distill-asr init` wrote: the student `baseline`, and the same student distilled from
frozen teachers, `{_SYSTEM}`.

    ./run.sh                  # prepare, dump, train, decode, score; continues where it was stopped
    distill-asr plan .        # what that will take on this machine
    distill-asr report exp/*_seed*    # one page: curves, utterances, differences
    distill-asr decode --exp exp/{_SYSTEM}_seed1 --data dump/test    # of any prepared directory

| set | utterances | hours | speakers |
|---|---|---|---|
{chr(10).join(rows)}

## Choices

{chosen}

`conf/student.yaml` is the student, `conf/systems.yaml` the grid, `conf/teacher/` the teachers.
Your edits are kept when the same `distill-asr init` runs again, unless it has `--force`.
{
        f'''
## Warnings

{doubts}
'''
        if doubts
        else ""
    }"""


def _student_bases(base: str) -> dict[str, str]:
    """The files that a student extends, by their path below ``conf/``."""
    files: dict[str, str] = {}
    waiting = [f"{base}.yaml"]
    while waiting:
        name = waiting.pop()
        text = (_STUDENTS / name).read_text(encoding="utf-8")
        files[f"student/{name}"] = text
        extended = yaml.safe_load(text).get("extends", [])
        waiting += [extended] if isinstance(extended, str) else extended
    return files


def _student(choices: Choices) -> str:
    tokens = f"token_type: {choices.tokens}\n"
    tokens += f"bpemodel: {BPE_MODEL if choices.tokens == BPE else 'null'}\n"
    predictor = ""
    if choices.predictor != LSTM:
        width = load_config(_STUDENTS / f"{choices.base}.yaml")["decoder_conf"]["embed_size"]
        predictor = f"decoder: {choices.predictor}\ndecoder_conf: {{embed_size: {width}}}\n"
    return f"""# The student of all systems; max_epoch is that of the distilled system's stage 2.
extends: student/{choices.base}.yaml
{predictor}{tokens}token_list: dump/tokens.txt
batch_bins: {_samples(choices.batch_seconds)}                 # samples: {choices.batch_seconds:g} s
scheduler_conf: {{warmup_steps: {choices.warmup}}}
max_epoch: {choices.stage_2_epochs}
"""


def _teacher(teacher: ChosenTeacher) -> str:
    model = yaml.safe_dump({"model": teacher.model}, allow_unicode=True, width=10**9)
    window = "window: audio  # the clip alone; 30: the window that the model was trained with\n"
    return f"""kind: speech
{model}layers: [{teacher.layer}]
{window if teacher.windowed else ""}dtype: float32
codec: {{name: fp16}}
"""


def _method(teacher: ChosenTeacher) -> str:
    name = teacher.name
    return f"""# Stage 1: the encoder learns the states of {name}; no transcripts.
model: encoder_only
distill:
  {name}: {{teacher: {name}, tap: encoder, match: frame, loss: l1}}
"""


def _systems(
    choices: Choices, teachers: Sequence[ChosenTeacher], streaming: bool, unlabelled: bool
) -> str:
    names = [teacher.name for teacher in teachers]
    settings: dict[str, object] = {"max_epoch": choices.stage_1_epochs}
    if choices.stage_1_batch_seconds != choices.batch_seconds:
        settings["batch_bins"] = _samples(choices.stage_1_batch_seconds)
    if streaming:
        settings |= {f"distill.{name}.match_conf.delay": DELAY for name in names}
    content = {
        "teachers": {name: f"teacher/{name}.yaml" for name in names},
        "pretrain": {
            _SYSTEM: {
                "config": ["student.yaml", *(f"method/{name}.yaml" for name in names)],
                "train": [TRAIN, UNLABELLED] if unlabelled else [TRAIN],
                "set": settings,
            }
        },
        "systems": {
            "baseline": {"config": "student.yaml", "set": {"max_epoch": choices.epochs}},
            _SYSTEM: {"pretrain": _SYSTEM, "config": "student.yaml"},
        },
    }
    head = "# A system is a row of the table; the baseline gets the updates of both stages.\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=100)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else; one line."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\*[]<>|#" else c for c in line)
