"""Facts about teachers, gathered once when a training starts and written for those that train."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from distill_asr.data.datadir import DataDir
from distill_asr.distill.facts import TeacherRecord
from distill_asr.errors import UserError, named
from distill_asr.io.files import atomic_write, write_text_atomic
from distill_asr.targets.codebooks import CODEBOOKS, write_bytes
from distill_asr.targets.fingerprint import read_sentences
from distill_asr.targets.manifest import STD_FLOOR, Manifest, pooled_statistics
from distill_asr.targets.statistics import Statistics
from distill_asr.teachers import Teacher
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.online import (
    OnlineTeacher,
    is_online,
    read_online,
    reads_audio,
    sample_statistics,
    to_mapping,
)
from distill_asr.teachers.online_text import load_reader, text_statistics, transcript_problems
from distill_asr.train.config import TrainConfig
from distill_asr.train.requirements import (
    WantedTargets,
    posterior_problems,
    reads_text,
    targets_of,
    wanted_of,
    with_targets,
)

STATISTICS_UTTERANCES = 200  # of an online teacher
STATISTICS_SENTENCES = 1000  # of one that reads text
STATISTICS_SEED = 0


def write_teacher_records(
    output: Path, train: Sequence[DataDir], judged: Sequence[DataDir], config: TrainConfig
) -> dict[str, TeacherRecord]:
    """The content of ``distill_teachers``: pooled manifests, or facts of an online teacher.

    Parameters
    ----------
    output : the experiment, where statistics and texts are written.
    train : statistics are taken from these sets.
    judged : validation sets that need targets, too.
    config : names the teachers and what is needed of each.

    Raises
    ------
    UserError : the sets' targets are of different teachers, layers or rates; an online teacher
        cannot be loaded, or cannot process all the data.
    """
    records: dict[str, TeacherRecord] = {}
    problems: list[str] = []
    for teacher in [*config.teachers, *config.online_teachers]:
        try:
            wanted = wanted_of(config, teacher)
            if is_online(teacher):
                records[teacher] = _record_online(output, teacher, train, judged, wanted)
                continue
            record = _record_of_targets(output, teacher, train, wanted)
            if reads_text(config, teacher):
                record = replace(record, texts=_write_texts(output, teacher, train))
            records[teacher] = record
        except UserError as error:
            problems += [f"teacher {teacher!r}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return records


def _record_of_targets(
    output: Path, teacher: str, sets: Sequence[DataDir], wanted: WantedTargets
) -> TeacherRecord:
    directories = [targets_of(data, teacher) for data in with_targets(sets, teacher)]
    manifests: list[Manifest] = [Manifest.load(directory) for directory in directories]
    mean, std = pooled_statistics(manifests)
    statistics = _write_statistics(output, teacher, mean=mean, std=std)
    codebooks = None
    if manifests[0].codec["name"] == "mvq":
        file = output / "data" / f"codebooks_{teacher}.safetensors"
        write_bytes(file, (directories[0] / CODEBOOKS).read_bytes())
        codebooks = str(file)
    layers = list(manifests[0].layers) if wanted.layers else None
    return TeacherRecord(
        manifests[0].width, manifests[0].step_ms, statistics, codebooks, layers=layers
    )


def _write_texts(output: Path, teacher: str, sets: Sequence[DataDir]) -> str:
    """The teacher's input text by utterance, for matchers that compare tokenisations.

    Raises
    ------
    UserError : the teacher reads audio.
    """
    rows: dict[str, str] = {}
    for data in with_targets(sets, teacher):
        source = Manifest.load(targets_of(data, teacher)).source
        if not source.text:
            raise UserError(
                f"{targets_of(data, teacher)}: targets of a teacher without text; leave "
                "match_conf.tokenizer out, or name a text teacher"
            )
        rows |= read_sentences(data.path, source.text)
    file = output / "data" / f"texts_{teacher}"
    write_text_atomic(file, "".join(f"{utt} {text}\n" for utt, text in sorted(rows.items())))
    return str(file)


def _record_online(
    output: Path,
    path: str,
    train: Sequence[DataDir],
    judged: Sequence[DataDir],
    wanted: WantedTargets,
) -> TeacherRecord:
    config = read_online(path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not reads_audio(config):
        return _record_reader(output, path, config, device, train, wanted)
    online = OnlineTeacher(config)
    teacher = online.on(device)
    problems = [p for data in [*train, *judged] for p in _unheard(data, teacher)]
    problems += wanted.layer_problems(config.layers, config.combine)
    for block, columns in wanted.posteriors:
        found = posterior_problems(teacher.tokens, teacher.width, columns, wanted.tokens)
        problems += [f"distill.{block}: {problem}" for problem in found]
    if problems:
        raise UserError(problems)
    seconds = config.on("cpu").batch_seconds
    assert seconds is not None  # `on` fills it in
    statistics = _statistics_online(
        output,
        path,
        config,
        teacher,
        lambda: sample_statistics(teacher, train, seconds, STATISTICS_UTTERANCES, STATISTICS_SEED),
        STATISTICS_UTTERANCES,
    )
    layers = list(config.layers) if wanted.layers else None
    return TeacherRecord(
        teacher.width, teacher.step_ms, statistics, online=to_mapping(config), layers=layers
    )


def _record_reader(
    output: Path,
    path: str,
    config: TeacherConfig,
    device: torch.device,
    train: Sequence[DataDir],
    wanted: WantedTargets,
) -> TeacherRecord:
    """Facts of a text teacher that reads hypotheses, and transcripts in the student's form."""
    teacher = load_reader(config, device)
    problems = [
        problem
        for data in train
        for problem in transcript_problems(teacher, data.text or {}, f"{data.path}/text")
    ]
    if problems := problems + wanted.layer_problems(config.layers, config.combine):
        raise UserError(problems)
    sentences = {text for data in train for text in (data.text or {}).values()}
    chosen = np.random.default_rng(STATISTICS_SEED).permutation(sorted(sentences))
    statistics = _statistics_online(
        output,
        path,
        config,
        teacher,
        lambda: text_statistics(
            teacher, chosen[:STATISTICS_SENTENCES].tolist(), config.batch_tokens
        ),
        STATISTICS_SENTENCES,
    )
    layers = list(config.layers) if wanted.layers else None
    return TeacherRecord(teacher.width, None, statistics, online=to_mapping(config), layers=layers)


def _unheard(data: DataDir, teacher: Teacher) -> list[str]:
    """Utterances that are too short or too long for a teacher."""
    lengths = data.num_samples or {}
    short = [u for u, count in lengths.items() if count < teacher.min_samples]
    long = [u for u, count in lengths.items() if count > (teacher.max_size or count)]
    return [
        f"{data.path}: {named(utterances)} {what} than the teacher accepts, {limit} samples; "
        "drop them with `distill-asr prepare`"
        for utterances, what, limit in (
            (short, "shorter", teacher.min_samples),
            (long, "longer", teacher.max_size),
        )
        if utterances
    ]


def _statistics_online(
    output: Path,
    path: str,
    config: TeacherConfig,
    teacher: Teacher,
    measured: Callable[[], Statistics],
    count: int,
) -> str:
    """Measure a random sample of the training utterances, once an experiment.

    Parameters
    ----------
    count : of utterances.

    Raises
    ------
    UserError : the experiment has begun with another teacher under this name.
    """
    settings = {**config.settings(teacher.fingerprint).to_mapping(), "codec": None}
    made_for = json.dumps([settings, count, STATISTICS_SEED])
    file = _statistics_file(output, path)
    if file.exists():
        if _made_for(file) == made_for:
            return str(file)
        if (output / "checkpoint.pth").exists():
            raise UserError(
                f"{file}: the training in {output} began with another teacher or other weights; "
                "use another --output, or remove that directory"
            )
    statistics = measured()
    std = np.maximum(statistics.std, STD_FLOOR)
    return _write_statistics(output, path, mean=statistics.mean, std=std, made_for=made_for)


def _made_for(file: Path) -> str | None:
    """The settings that statistics were measured for; None of a file cut short or damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return str(arrays["made_for"].item())
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _statistics_file(output: Path, teacher: str) -> Path:
    return output / "data" / f"statistics_{teacher.replace('/', '_')}.npz"


def _write_statistics(output: Path, teacher: str, **arrays: Any) -> str:
    file = _statistics_file(output, teacher)
    with atomic_write(file) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)
    return str(file)
