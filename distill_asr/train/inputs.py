"""What a training run reads: data dirs joined, targets listed, shapes from durations.

Everything lands in ``<exp>/data`` before ESPnet starts, so that a run can be read, repeated and
continued from its directory alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from distill_asr.data.datadir import DataDir
from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError, few, named
from distill_asr.espnet.plugin import TARGETS_TYPE
from distill_asr.io.files import write_text_atomic
from distill_asr.io.identity import CACHE
from distill_asr.models.students.base import TARGET_PREFIX
from distill_asr.train.cache import list_states
from distill_asr.train.config import TrainConfig
from distill_asr.train.requirements import (
    WantedTargets,
    list_targets,
    target_problems,
    wanted_targets,
)


def read_train_and_valid(
    train: Sequence[str], valid: Sequence[str], config: TrainConfig
) -> tuple[list[DataDir], list[DataDir]]:
    """Both parts of the data.

    A student with text is validated by its recognition loss, so validation needs no targets.

    Parameters
    ----------
    train, valid : prepared data dirs.
    config : says whether transcripts and which targets are needed.

    Raises
    ------
    UserError : what is wrong with either part, in one report.
    """
    text, wanted = config.needs_text, wanted_targets(config)
    parts: list[list[DataDir]] = []
    problems: list[str] = []
    for directories, targets in ((train, wanted), (valid, [] if text else wanted)):
        try:
            parts.append(_read_sets(directories, text, targets))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))  # a set may be in both
    return parts[0], parts[1]


def _read_sets(
    directories: Sequence[str], needs_text: bool, wanted: list[WantedTargets]
) -> list[DataDir]:
    """Read and check prepared data dirs.

    Raises
    ------
    UserError : everything that is missing or wrong in any of them: data dirs that were not
        prepared, text that a student needs, ids that two sets share, teachers never dumped,
        and targets that are incomplete or older than their audio.
    """
    problems: list[str] = []
    sets, whole = [], []
    digests: dict[Path, dict[str, str]] = {}
    for directory in directories:
        try:
            data = DataDir.read(directory)
        except UserError as error:
            problems += error.problems
            continue
        sets.append(data)
        damaged: list[str] = []
        try:
            digests[data.path] = _audio_digests(data)
        except UserError as error:
            damaged = error.problems
        problems += damaged + _set_problems(data, needs_text)
        whole += [] if damaged else [data]  # targets are held against the audio
    problems += [p for targets in wanted for p in target_problems(whole, targets, digests)]
    problems += _shared_ids(sets)
    if problems:
        raise UserError(problems)
    return sets


def _audio_digests(data: DataDir) -> dict[str, str]:
    """SHA-256 of each utterance's audio; UserError where files are missing or were changed."""
    absent = [utt for utt, path in data.wav.items() if not os.path.isfile(path)]
    if absent:
        raise UserError(
            f"{data.path / 'wav.scp'}: no audio file for {named(absent)}, such as "
            f"{data.wav[absent[0]]}; run `distill-asr prepare` again"
        )
    return prepared_audio_identity(data.wav, data.path / CACHE)


def _set_problems(data: DataDir, needs_text: bool) -> list[str]:
    problems = []
    if data.num_samples is None:
        problems.append(
            f"{data.path}: no utt2num_samples; make this dir with `distill-asr prepare`"
        )
    if needs_text and data.text is None:
        problems.append(
            f"{data.path}: no text, but this student is trained on transcripts; add it and run "
            "`distill-asr prepare` again"
        )
    return problems


def _shared_ids(sets: list[DataDir]) -> list[str]:
    problems, owner = [], {}
    for data in sets:
        twice = sorted(utt for utt in data.wav if utt in owner)
        if twice:
            problems.append(
                f"{data.path}: {len(twice)} utterance ids also in {owner[twice[0]]} "
                f"({few(twice)}); give each set its own ids"
            )
        owner.update(dict.fromkeys(data.wav, data.path))
    return problems


def write_inputs(
    output: Path, part: str, sets: list[DataDir], config: TrainConfig, states: str | None = None
) -> list[str]:
    """Write what ESPnet reads for one part of the data.

    Parameters
    ----------
    output : the experiment; the files lie in ``data/<part>``.
    part : ``train`` or ``valid``.
    sets : read by ``read_train_and_valid``.
    config : of the student.
    states : what the front-end gives lies there under this name, and is read in place of audio.

    Returns
    -------
    ESPnet's command line options for this part. Shapes come from the durations, so that no
    statistics pass ever reads teacher targets.
    """
    directory = output / "data" / part
    options = []

    def listed(name: str, kind: str, file: str) -> None:
        options.extend(
            [f"--{part}_data_path_and_name_and_type", f"{directory / file},{name},{kind}"]
        )

    def table(name: str, kind: str, file: str, rows: list[tuple[str, str]]) -> None:
        lines = "".join(f"{utt} {value}\n" for utt, value in sorted(rows))
        write_text_atomic(directory / file, lines)
        listed(name, kind, file)

    if states is None:
        table("speech", "sound", "wav.scp", [row for data in sets for row in data.wav.items()])
    else:
        list_states(directory / "states.json", sets, states)
        listed("speech", TARGETS_TYPE, "states.json")
    if config.needs_text:
        table("text", "text", "text", [row for data in sets for row in data.text.items()])
    for wanted in wanted_targets(config):
        name = TARGET_PREFIX + wanted.teacher
        list_targets(directory / f"{name}.json", sets, wanted)
        listed(name, TARGETS_TYPE, f"{name}.json")
    shapes = sorted((utt, n) for data in sets for utt, n in data.num_samples.items())
    shape_file = directory / "speech_shape"
    write_text_atomic(shape_file, "".join(f"{utt} {n}\n" for utt, n in shapes))
    return [*options, f"--{part}_shape_file", str(shape_file)]
