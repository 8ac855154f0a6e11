"""What a training run reads: data dirs joined, targets listed, shapes from durations.

Everything lands in ``<exp>/data`` before ESPnet starts, so that a run can be read, repeated and
continued from its directory alone.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import yaml

from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.files import atomic_write, write_text_atomic

MAX_NAMED = 5  # utterances named in one message


def distiller_blocks(config: dict) -> dict[str, dict]:
    """The blocks of ``distill:`` that are switched on; also of a config not checked yet."""
    blocks = config.get("distill")
    blocks = blocks if isinstance(blocks, dict) else {}
    return {name: b for name, b in blocks.items() if name != "pick" and isinstance(b, dict) and b}


def teachers_of(config: dict) -> list[str]:
    """Names of the teachers that the config learns from."""
    names = (block.get("teacher") for block in distiller_blocks(config).values())
    return sorted({name for name in names if isinstance(name, str)})


def read_train_and_valid(
    train: list[str], valid: list[str], config: dict
) -> tuple[list[DataDir], list[DataDir]]:
    """Both parts of the data; what is wrong with either is in one report.

    A student with text is judged by its recognition loss, so its validation needs no targets.
    """
    text, teachers = needs_text(config), teachers_of(config)
    parts: list[list[DataDir]] = []
    problems: list[str] = []
    for directories, wanted in ((train, teachers), (valid, [] if text else teachers)):
        try:
            parts.append(read_sets(directories, text, wanted))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))  # a set may be in both
    return parts[0], parts[1]


def read_sets(directories: list[str], needs_text: bool, teachers: list[str]) -> list[DataDir]:
    """Read and check prepared data dirs.

    Raises
    ------
    UserError : everything that is missing or wrong in any of them: data dirs that were not
        prepared, text that a student needs, ids that two sets share, teachers never dumped,
        and targets that are incomplete or older than their audio.
    """
    problems, sets = [], []
    for directory in directories:
        try:
            data = DataDir.read(directory)
        except UserError as error:
            problems += error.problems
            continue
        sets.append(data)
        problems += _set_problems(data, needs_text)
        problems += [p for t in teachers for p in _target_problems(data, t)]
    problems += _shared_ids(sets)
    if problems:
        raise UserError(problems)
    return sets


def _set_problems(data: DataDir, needs_text: bool) -> list[str]:
    from distill_asr.targets.verify import named

    problems = []
    if absent := [utt for utt, path in data.wav.items() if not Path(path).is_file()]:
        problems.append(
            f"{data.path / 'wav.scp'}: no audio file for {named(absent)}, such as "
            f"{data.wav[absent[0]]}; run `distill-asr prepare` again"
        )
    if data.num_samples is None:
        problems.append(
            f"{data.path}: no utt2num_samples; make this dir with `distill-asr prepare`"
        )
    if needs_text and data.text is None:
        problems.append(f"{data.path}: no text, but this student learns from transcripts")
    return problems


def _shared_ids(sets: list[DataDir]) -> list[str]:
    problems, owner = [], {}
    for data in sets:
        twice = sorted(utt for utt in data.wav if utt in owner)
        if twice:
            problems.append(
                f"{data.path}: {len(twice)} utterance ids also in {owner[twice[0]]} "
                f"({', '.join(twice[:MAX_NAMED])}); give each set its own ids"
            )
        owner.update(dict.fromkeys(data.wav, data.path))
    return problems


def _target_problems(data: DataDir, teacher: str) -> list[str]:
    from distill_asr.targets.verify import check_targets

    directory = Path(data.path) / "targets" / teacher
    if not (directory / "manifest.json").exists():
        return [
            f"{directory}: no targets of teacher {teacher!r}; make them with "
            f"`distill-asr dump --teacher <config of {teacher}> --name {teacher} {data.path}`"
        ]
    return check_targets(directory, data)


def write_inputs(output: Path, part: str, sets: list[DataDir], config: dict) -> list[str]:
    """Write what ESPnet reads for ``part`` (train or valid).

    Returns
    -------
    ESPnet's command line options for this part. Shapes come from the durations, so that no
    statistics pass ever reads teacher targets.
    """
    from distill_asr.espnet_plugin import TARGETS_TYPE
    from distill_asr.students.base import TARGET_PREFIX

    directory = output / "data" / part
    options = []

    def stream(name: str, kind: str, file: str, lines: list[str]) -> None:
        write_text_atomic(directory / file, "".join(f"{line}\n" for line in lines))
        options.extend(
            [f"--{part}_data_path_and_name_and_type", f"{directory / file},{name},{kind}"]
        )

    wav = sorted((utt, path) for data in sets for utt, path in data.wav.items())
    stream("speech", "sound", "wav.scp", [f"{utt} {path}" for utt, path in wav])
    if needs_text(config):
        text = sorted((utt, words) for data in sets for utt, words in data.text.items())
        stream("text", "text", "text", [f"{utt} {words}" for utt, words in text])
    for teacher in teachers_of(config):
        listed = [str(Path(data.path) / "targets" / teacher) for data in sets]
        stream(TARGET_PREFIX + teacher, TARGETS_TYPE, f"targets_{teacher}", listed)
    shapes = sorted((utt, n) for data in sets for utt, n in data.num_samples.items())
    shape_file = directory / "speech_shape"
    write_text_atomic(shape_file, "".join(f"{utt} {n}\n" for utt, n in shapes))
    return [*options, f"--{part}_shape_file", str(shape_file)]


def needs_text(config: dict) -> bool:
    """Whether the student learns from transcripts."""
    return config.get("model") != "encoder_only"


def write_teacher_facts(output: Path, sets: list[DataDir], teachers: list[str]) -> dict[str, dict]:
    """Pool the manifests of all training sets; the config block ``distill_teachers``.

    Raises
    ------
    UserError : the sets' targets are of different teachers, layers or rates.
    """
    import numpy as np

    from distill_asr.targets.manifest import Manifest, pooled_statistics

    facts, problems = {}, []
    for teacher in teachers:
        manifests = [Manifest.load(Path(data.path) / "targets" / teacher) for data in sets]
        try:
            mean, std = pooled_statistics(manifests)
        except UserError as error:
            problems += [f"targets of {teacher!r}: {problem}" for problem in error.problems]
            continue
        statistics = output / "data" / f"statistics_{teacher}.npz"
        with atomic_write(statistics) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, mean=mean, std=std)
        facts[teacher] = {
            "width": manifests[0].width,
            "step_ms": manifests[0].step_ms,
            "statistics": str(statistics),
        }
    if problems:
        raise UserError(problems)
    return facts


def experiment_record(config: dict, args: argparse.Namespace) -> dict:
    """What makes two runs the same experiment: the config; data and initial weights by content."""
    directories = [Path(directory) for directory in [*args.train, *args.valid]]
    names = ["utt2num_samples", *(["text"] if needs_text(config) else [])]
    names += [f"targets/{teacher}/manifest.json" for teacher in teachers_of(config)]
    digest = hashlib.sha256()
    files = [directory / name for directory in directories for name in names]
    # <file>:<source key>:<destination key>:<exclude keys>, of which all but the file may be absent
    files += [Path(str(init).partition(":")[0]) for init in config.get("init_param") or []]
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"absent")
    return {
        "config": config,
        "train": args.train,
        "valid": args.valid,
        "espnet": args.espnet,
        "data": digest.hexdigest(),
    }


def fingerprint(record: dict) -> str:
    """A short form of ``experiment_record``."""
    return hashlib.sha256(yaml.safe_dump(record).encode()).hexdigest()
