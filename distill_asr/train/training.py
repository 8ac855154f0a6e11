"""A training from its checks to its last epoch; between them ESPnet's own trainer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sentencepiece import SentencePieceProcessor
from torch.multiprocessing import ProcessRaisedException

from distill_asr.data.datadir import DataDir
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.data.token_list import read_token_list
from distill_asr.distill.block import by_tap
from distill_asr.distill.facts import TeacherRecord
from distill_asr.errors import UserError
from distill_asr.espnet.task import DistillTask, text_tokenizer
from distill_asr.experiments.layout import Experiment
from distill_asr.io.files import write_text_atomic
from distill_asr.models.frontends.rate import sampling_rate_of
from distill_asr.models.students.base import TARGET_PREFIX, Student
from distill_asr.train.cache import cache_problems, caches_states, write_states
from distill_asr.train.checks import inspect
from distill_asr.train.config import TrainConfig, TrainOptions
from distill_asr.train.facts import write_teacher_records
from distill_asr.train.first import command_of_first
from distill_asr.train.identity import (
    PLACE,
    Identity,
    begin_anew,
    place_problems,
    same_experiment,
    unfinished,
    without,
)
from distill_asr.train.initial import initial_problems
from distill_asr.train.inputs import read_train_and_valid, write_inputs
from distill_asr.train.lengths import FrameCounter, too_long, too_short, warn_of_transcripts
from distill_asr.train.progress import TrainLog

JOINT = PLACE | {"dist_world_size", "multiprocessing_distributed"}  # of processes together
LOADER_DIED = "DataLoader worker"  # in torch's message


def train(config: TrainConfig, options: TrainOptions, identity: Identity) -> None:
    """Train, or continue what the same training began in ``options.experiment``.

    Parameters
    ----------
    config : of the student.
    options : data, directory, and what goes to ESPnet.
    identity : of the training that these two describe.

    Raises
    ------
    UserError : mistakes in config, data, targets or initial weights, all in one report; the
        directory holds another training; the training diverged.
    """
    experiment = options.experiment
    with TrainLog() as log:
        same = same_experiment(experiment, identity)
        # ESPnet unpickles freely what it resumes from or initialises with
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        if options.leads:
            command = prepare_training(config, options, anew=not same)
            _clean(experiment)
            write_text_atomic(experiment.record, identity.to_yaml())
        else:
            _checked(config, options)
            command = command_of_first(experiment, identity, config.measures_statistics)
        log.open(experiment.log)
        with log.printed():
            if options.leads and config.measures_statistics:
                alone = without(options.espnet, JOINT)
                _collect_stats([*command, *alone], experiment.statistics.parents[1])
            try:
                DistillTask.main(cmd=[*command, *options.espnet])
            except ProcessRaisedException as error:  # of one of several devices
                raise _of_child(error) from error
            except RuntimeError as error:
                if LOADER_DIED not in str(error):
                    raise
                raise UserError(
                    f"{experiment.directory}: a process that loads data ended ({error}), as when "
                    "memory runs out; run the same command again, with fewer of them "
                    "(num_workers) if it happens again"
                ) from error


def prepare_training(config: TrainConfig, options: TrainOptions, anew: bool = False) -> list[str]:
    """Check config, data and targets, write what ESPnet reads.

    Parameters
    ----------
    anew : remove what an earlier attempt measured.

    Returns
    -------
    ESPnet's command line, but for the options that the user gives ESPnet.

    Raises
    ------
    UserError : all mistakes that show before a teacher is loaded, in one report.
    """
    experiment = options.experiment
    training, judged = _checked(config, options)
    if anew:
        begin_anew(experiment)
    # stage 1 is judged by its distillation loss, stage 2 by the recognition loss alone
    heard = [] if config.needs_text else judged
    records = write_teacher_records(experiment.directory, training, heard, config)
    resolved = resolve(config, records, experiment)
    file, output = experiment.espnet_config, experiment.directory
    write_text_atomic(file, yaml.safe_dump(resolved, sort_keys=False))
    command = ["--config", str(file), "--output_dir", str(output)]
    command += ["--resume", "true", "--allow_variable_data_keys", "true"]
    states = None
    if caches_states(config):
        states = write_states([*training, *judged], config, options.init)
    command += write_inputs(output, "train", training, config, states)
    judges = config.without_distillers() if config.needs_text else config
    command += write_inputs(output, "valid", judged, judges, states)
    write_text_atomic(experiment.espnet_command, json.dumps(command))
    return command


def _checked(config: TrainConfig, options: TrainOptions) -> tuple[list[DataDir], list[DataDir]]:
    """Training data and validation data.

    Raises
    ------
    UserError : all mistakes of config and data, in one report.
    """
    problems, student = inspect(config)
    problems += _missing_files(config) + _tokenizer_problems(config)
    problems += _statistics_problems(config)
    problems += cache_problems(config, options.init)
    if student is not None:
        problems += initial_problems(config, student)
    problems = [f"{config.name}: {problem}" for problem in problems]
    if options.leads:  # others may find what the first process has written meanwhile
        problems += place_problems(options.experiment)
    try:
        training, judged = read_train_and_valid(options.train, options.valid, config)
    except UserError as error:
        raise UserError([*problems, *error.problems]) from error
    problems += _check_utterances(config, student, training, judged, quiet=bool(problems))
    if problems:
        raise UserError(problems)
    return training, judged


def _check_utterances(
    config: TrainConfig,
    student: Student | None,
    training: list[DataDir],
    judged: list[DataDir],
    quiet: bool,
) -> list[str]:
    """Utterances too short for the student; warnings of transcripts that cannot be trained on.

    Parameters
    ----------
    quiet : no warnings, since the training will not begin.
    """
    if student is None:
        return []
    frames = FrameCounter(student, sampling_rate_of(config.conf("frontend")))
    problems = too_short([*training, *judged], frames)
    problems += too_long([*training, *judged], student, frames.sampling_rate)
    if config.needs_text and not quiet and not problems:
        tokenize = text_tokenizer(config.espnet)
        sets = {data.path: data for data in [*training, *judged]}
        warn_of_transcripts(list(sets.values()), student, frames, tokenize)
    return list(dict.fromkeys(problems))


def resolve(
    config: TrainConfig, records: dict[str, TeacherRecord], experiment: Experiment
) -> dict[str, Any]:
    """The config in ESPnet's keys only, with the facts about the teachers.

    Parameters
    ----------
    config : of the student.
    records : facts by name of the teacher, as of ``write_teacher_records``.
    experiment : where statistics of the features lie.
    """
    resolved = dict(config.espnet)
    if config.section:
        blocks = by_tap(config.section)
        resolved["distill"] = {name: block for name, block in blocks.items() if block}
        resolved["distill_teachers"] = {name: one.to_mapping() for name, one in records.items()}
    if not config.needs_text:
        resolved |= {"token_type": None, "token_list": None}
    if config.measures_statistics:
        file = str(experiment.statistics)
        resolved["normalize_conf"] = {**config.conf("normalize"), "stats_file": file}
    # plots cost seconds an epoch; the curves are in TensorBoard
    return {"num_att_plot": 0, "use_matplotlib": False} | resolved


def _clean(experiment: Experiment) -> None:
    """Remove models that a killed run left half-written.

    Only those: other hosts of a distributed training may be writing the small files just now.
    """
    for leftover in experiment.directory.glob(".*.pth.*.tmp"):
        leftover.unlink(missing_ok=True)
    experiment.done.unlink(missing_ok=True)  # until this run is done as well


def _missing_files(config: TrainConfig) -> list[str]:
    """Files that the config names."""
    given = config.espnet.get("init_param")
    problems = (
        []
        if isinstance(given or [], list)
        else [f"init_param: expected a list of FILE:FROM:TO, found {given!r}"]
    )
    files: list[tuple[str, object]] = [
        ("init_param", entry.partition(":")[0]) for entry in config.initial_weights
    ]
    if not config.has_pieces:
        files.append(("bpemodel", config.espnet.get("bpemodel")))
    if config.needs_text:
        files.append(("token_list", config.token_list))
        if config.token_list and Path(config.token_list).is_file():
            problems += _token_list_problems(config.token_list)
        # ESPnet only warns, and splits the symbols into characters
        files.append(("non_linguistic_symbols", config.espnet.get("non_linguistic_symbols")))
    return problems + [
        f"{key}: no such file: {file}"
        for key, file in files
        if isinstance(file, str) and not Path(file).is_file()
    ]


def _token_list_problems(file: str) -> list[str]:
    try:
        read_token_list(file)
    except UserError as error:
        return [f"token_list: {problem}" for problem in error.problems]
    return []


def _tokenizer_problems(config: TrainConfig) -> list[str]:
    """The text model whose pieces are the student's tokens."""
    model = config.espnet.get("bpemodel")
    if not config.needs_text or not isinstance(model, str):
        return []
    if not config.has_pieces:
        return _bpe_problems(model) if Path(model).is_file() else []
    try:
        PieceTokenizer(model).text2tokens("")
    except UserError as error:
        return [f"bpemodel: {problem}" for problem in error.problems]
    return []


def _bpe_problems(model: str) -> list[str]:
    try:
        SentencePieceProcessor(model_file=model)
    except (RuntimeError, OSError) as error:
        return [
            f"bpemodel: {model}: not a SentencePiece model ({error}); name the file that "
            "`distill-asr prepare --tokens bpe` wrote"
        ]
    return []


def _statistics_problems(config: TrainConfig) -> list[str]:
    """Statistics of features that somebody else measured; numpy's files can hold pickles."""
    file = config.conf("normalize").get("stats_file")
    if not isinstance(file, str):
        return []
    way_out = "leave stats_file out, so that `train` measures them"
    try:
        with open(file, "rb") as stream:
            found = np.load(stream, allow_pickle=False)
            arrays = found.values() if isinstance(found, np.lib.npyio.NpzFile) else [found]
            if not all(np.isfinite(array).all() for array in arrays):
                return [
                    f"normalize_conf.stats_file: {file}: has values that are not finite; {way_out}"
                ]
    except FileNotFoundError:
        return [f"normalize_conf.stats_file: no such file: {file}; {way_out}"]
    except Exception as error:  # damage brings up anything
        return [f"normalize_conf.stats_file: {file}: cannot be read ({error}); {way_out}"]
    return []


def _collect_stats(command: list[str], directory: Path) -> None:
    """ESPnet's statistics pass over audio alone; kept once made."""
    if directory.exists():
        return
    targets = {i for i, value in enumerate(command) if f",{TARGET_PREFIX}" in value}
    kept = [c for i, c in enumerate(command) if i not in targets and i + 1 not in targets]
    # renamed when complete, so that a kill leaves no half statistics
    making = unfinished(directory)
    options = ["--collect_stats", "true", "--normalize", "none", "--output_dir", str(making)]
    DistillTask.main(cmd=[*kept, *options])
    making.rename(directory)


def _of_child(error: ProcessRaisedException) -> Exception:
    """The exception of a process of one device: a mistake of the user stays one."""
    mark = f"{UserError.__module__}.{UserError.__name__}: "
    _, found, message = str(error).rpartition(mark)
    return UserError(message.strip().splitlines()) if found else error
