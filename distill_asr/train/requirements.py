"""What a training takes from its teachers: which targets, in what state, and facts about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.files import atomic_write, write_text_atomic
from distill_asr.teachers.online import (
    OnlineTeacher,
    is_online,
    read_online,
    sample_statistics,
    to_mapping,
)

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir
    from distill_asr.targets.manifest import Manifest
    from distill_asr.teachers import Teacher

STATISTICS_UTTERANCES = 200  # of an online teacher
STATISTICS_SEED = 0


@dataclass(frozen=True)
class Wanted:
    """What the blocks of a config ask of one teacher's targets."""

    teacher: str
    may_miss: bool  # every block of it says `missing: skip`
    codes: tuple[str, ...] = ()  # blocks whose loss reads codes
    # blocks whose loss reads posteriors, and what a row has besides them
    posteriors: tuple[tuple[str, int], ...] = ()
    tokens: tuple[str, ...] = ()  # the student's, where posteriors are read


def distiller_blocks(config: dict) -> dict[str, dict]:
    """The blocks of ``distill:`` that are switched on; also of a config not checked yet."""
    blocks = config.get("distill")
    blocks = blocks if isinstance(blocks, dict) else {}
    return {name: b for name, b in blocks.items() if name != "pick" and isinstance(b, dict) and b}


def teachers_of(config: dict) -> list[str]:
    """Names of the teachers whose targets the config learns from."""
    return [name for name in _named(config) if not is_online(name)]


def online_teachers_of(config: dict) -> list[str]:
    """Files of the teachers that run in the training step."""
    return [name for name in _named(config) if is_online(name)]


def wanted_targets(config: dict) -> list[Wanted]:
    """What a checked config asks of each teacher's targets."""
    return [_wanted(config, teacher) for teacher in teachers_of(config)]


def _wanted(config: dict, teacher: str) -> Wanted:
    from distill_asr.distill.build import find_class
    from distill_asr.distill.distiller import CODES, POSTERIORS, reads

    blocks = {n: b for n, b in distiller_blocks(config).items() if b["teacher"] == teacher}
    skips = all(block.get("missing") == "skip" for block in blocks.values())
    read = {name: reads(find_class("loss", block["loss"])) for name, block in blocks.items()}
    codes = tuple(name for name in blocks if read[name] == CODES)
    posteriors = tuple(
        (name, getattr(find_class("match", block.get("match", "frame")), "columns", 0))
        for name, block in blocks.items()
        if read[name] == POSTERIORS
    )
    return Wanted(teacher, skips, codes, posteriors, student_tokens(config) if posteriors else ())


def student_tokens(config: dict) -> tuple[str, ...]:
    """The token list, read from its file; none where there is no such file."""
    listed = config.get("token_list") or []
    if isinstance(listed, str):
        path = Path(listed)
        listed = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple(listed)


def reads_text(config: dict, teacher: str) -> bool:
    """Whether a block of this teacher has a matcher that asks what the teacher read.

    Raises
    ------
    UserError : one that does lacks what it needs for it.
    """
    from distill_asr.distill.build import find_class
    from distill_asr.distill.distiller import DistillerOptions

    blocks = [b for b in distiller_blocks(config).values() if b["teacher"] == teacher]
    matchers = [
        find_class("match", block.get("match", DistillerOptions.match))(
            **(block.get("match_conf") or {})
        )
        for block in blocks
    ]
    reading = [matcher for matcher in matchers if getattr(matcher, "reads_text", False)]
    for matcher in reading:
        matcher.check()
    return bool(reading)


def targets_of(data: DataDir, teacher: str) -> Path:
    """Where the targets of a set lie."""
    return Path(data.path) / "targets" / teacher


def with_targets(sets: Sequence[DataDir], teacher: str) -> list[DataDir]:
    """The sets that were dumped with this teacher."""
    return [data for data in sets if targets_of(data, teacher).exists()]


def target_problems(sets: Sequence[DataDir], wanted: Wanted) -> list[str]:
    """What is wrong with a teacher's targets of these sets."""
    problems = [problem for data in sets for problem in _problems_of_set(data, wanted)]
    if wanted.may_miss and sets and not with_targets(sets, wanted.teacher):
        named = ", ".join(str(data.path) for data in sets)
        problems.append(
            f"{named}: none of them has targets of teacher {wanted.teacher!r}, so nothing could be "
            f"learnt from it; {_dump_hint(sets[0], wanted.teacher)}"
        )
    return problems


def _problems_of_set(data: DataDir, wanted: Wanted) -> list[str]:
    from distill_asr.targets.manifest import MANIFEST, Manifest
    from distill_asr.targets.verify import check_targets

    directory = targets_of(data, wanted.teacher)
    if not (directory / MANIFEST).exists():
        if directory.exists():
            return [
                f"{directory}: an unfinished dump; run the same `distill-asr dump` again, or "
                "remove that directory"
            ]
        if wanted.may_miss:
            return []
        return [
            f"{directory}: no targets of teacher {wanted.teacher!r}; make them with "
            f"{_dump_hint(data, wanted.teacher)}, or let it be with `missing: skip`"
        ]
    problems = check_targets(directory, data, allow_missing=wanted.may_miss)
    if problems:
        return problems
    manifest = Manifest.load(directory)
    return _code_problems(directory, manifest, wanted) + [
        f"distill.{block}: {directory}: {problem}"
        for block, columns in wanted.posteriors
        for problem in posterior_problems(manifest, columns, wanted.tokens)
    ]


def posterior_problems(
    said: Manifest | Teacher, columns: int, tokens: tuple[str, ...]
) -> list[str]:
    """Why a student cannot learn a teacher's posteriors.

    Parameters
    ----------
    said : the manifest of its targets, or the teacher itself.
    columns : numbers in front of the posteriors; 3 of a lattice path.
    tokens : the student's.
    """
    known = getattr(said, "tokens", None)
    if known is None:
        return [
            "holds states, but this loss reads posteriors; use those of a teacher of "
            "`kind: recogniser`, or a loss on states"
        ]
    if not tokens:
        return []  # reported as a missing token list
    if tuple(known) != tokens:
        pairs = enumerate(zip(known, tokens, strict=False))
        first = next((i for i, (a, b) in pairs if a != b), min(len(known), len(tokens)))
        return [
            f"posteriors over {len(known)} tokens, and the student has {len(tokens)}; number "
            f"{first} is the first to differ, {_at(known, first)} and {_at(tokens, first)}; "
            "train teacher and student with one token list"
        ]
    if said.width != len(known) + columns:
        outputs = {0: "posteriors", 3: "path"}
        found = outputs.get(said.width - len(known), f"{said.width} columns")
        return [f"holds {found}; dump this teacher with `output: {outputs[columns]}`"]
    return []


def _at(tokens: Sequence[str], index: int) -> str:
    return repr(tokens[index]) if index < len(tokens) else "nothing"


def _code_problems(directory: Path, manifest: Manifest, wanted: Wanted) -> list[str]:
    codec = manifest.codec["name"]
    if codec == "mvq":
        return []
    return [
        f"distill.{block}.loss: reads codes, but {directory} holds vectors (codec {codec}); dump "
        "this teacher with `codec: {name: mvq}`, or choose a loss on vectors"
        for block in wanted.codes
    ]


def _dump_hint(data: DataDir, teacher: str) -> str:
    return f"`distill-asr dump --teacher <config of {teacher}> --name {teacher} {data.path}`"


def list_targets(path: Path, sets: Sequence[DataDir], wanted: Wanted) -> None:
    """Write which directories the training loader reads, and how many utterances have none."""
    from distill_asr.targets.reader import read_scp

    dumped = with_targets(sets, wanted.teacher)
    without = 0
    if wanted.may_miss:
        there = {u for data in dumped for u in read_scp(targets_of(data, wanted.teacher))}
        without = sum(utterance not in there for data in sets for utterance in data.wav)
    listed = {
        "directories": [str(targets_of(data, wanted.teacher)) for data in dumped],
        "may_miss": wanted.may_miss,
        "utterances": sum(len(data.wav) for data in sets),
        "without": without,
    }
    write_text_atomic(path, json.dumps(listed, indent=1) + "\n")


def write_teacher_facts(
    output: Path, train: Sequence[DataDir], judged: Sequence[DataDir], config: dict
) -> dict[str, dict]:
    """The config block ``distill_teachers``: pooled manifests, or an online teacher's own facts.

    Parameters
    ----------
    train : statistics are taken from these sets.
    judged : validation sets that the teachers judge too.

    Raises
    ------
    UserError : the sets' targets are of different teachers, layers or rates; an online teacher
        cannot be loaded, or not hear all the data.
    """
    facts, problems = {}, []
    for teacher in [*teachers_of(config), *online_teachers_of(config)]:
        try:
            facts[teacher] = (
                _facts_online(output, teacher, train, judged, _wanted(config, teacher))
                if is_online(teacher)
                else _facts_of_targets(output, teacher, train)
            )
            if not is_online(teacher) and reads_text(config, teacher):
                facts[teacher]["texts"] = _write_texts(output, teacher, train)
        except UserError as error:
            problems += [f"teacher {teacher!r}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return facts


def _facts_of_targets(output: Path, teacher: str, sets: Sequence[DataDir]) -> dict:
    from distill_asr.targets.codebooks import CODEBOOKS, write_bytes
    from distill_asr.targets.manifest import Manifest, pooled_statistics

    directories = [targets_of(data, teacher) for data in with_targets(sets, teacher)]
    manifests: list[Manifest] = [Manifest.load(directory) for directory in directories]
    mean, std = pooled_statistics(manifests)
    facts = {"width": manifests[0].width, "step_ms": manifests[0].step_ms}
    facts["statistics"] = _write_statistics(output, teacher, mean=mean, std=std)
    if manifests[0].codec["name"] == "mvq":
        codebooks = output / "data" / f"codebooks_{teacher}.safetensors"
        write_bytes(codebooks, (directories[0] / CODEBOOKS).read_bytes())
        facts["codebooks"] = str(codebooks)
    return facts


def _write_texts(output: Path, teacher: str, sets: Sequence[DataDir]) -> str:
    """What the teacher read of each utterance, for matchers that compare tokenisations.

    Raises
    ------
    UserError : it heard audio.
    """
    from distill_asr.targets.fingerprint import read_sentences
    from distill_asr.targets.manifest import Manifest

    rows: dict[str, str] = {}
    for data in with_targets(sets, teacher):
        source = Manifest.load(targets_of(data, teacher)).source
        if not source.text:
            raise UserError(
                f"{targets_of(data, teacher)}: of a teacher that read no text; leave "
                "match_conf.tokenizer out, or name a text teacher"
            )
        rows |= read_sentences(data.path, source.text)
    file = output / "data" / f"texts_{teacher}"
    write_text_atomic(file, "".join(f"{utt} {text}\n" for utt, text in sorted(rows.items())))
    return str(file)


def _facts_online(
    output: Path, path: str, train: Sequence[DataDir], judged: Sequence[DataDir], wanted: Wanted
) -> dict:
    import torch

    config = read_online(path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    online = OnlineTeacher(config)
    teacher = online.on(device)
    problems = [p for data in [*train, *judged] for p in _unheard(data, teacher)]
    for block, columns in wanted.posteriors:
        found = posterior_problems(teacher, columns, wanted.tokens)
        problems += [f"distill.{block}: {problem}" for problem in found]
    if problems:
        raise UserError(problems)
    statistics = _statistics_online(output, path, online, teacher, train)
    return {
        "width": teacher.width,
        "step_ms": teacher.step_ms,
        "statistics": statistics,
        "online": to_mapping(config),
    }


def _unheard(data: DataDir, teacher: Teacher) -> list[str]:
    """Utterances that are too short or too long for a teacher."""
    from distill_asr.errors import named

    lengths = data.num_samples or {}
    short = [u for u, count in lengths.items() if count < teacher.min_samples]
    long = [u for u, count in lengths.items() if count > (teacher.max_size or count)]
    return [
        f"{data.path}: {named(utterances)} {what} than the teacher can hear, {limit} samples; "
        "drop them with `distill-asr prepare`"
        for utterances, what, limit in (
            (short, "shorter", teacher.min_samples),
            (long, "longer", teacher.max_size),
        )
        if utterances
    ]


def _statistics_online(
    output: Path, path: str, online: OnlineTeacher, teacher: Teacher, sets: Sequence[DataDir]
) -> str:
    """Measure a random sample of the training utterances, once an experiment.

    Raises
    ------
    UserError : the experiment has begun with another teacher under this name.
    """
    from distill_asr.targets.manifest import STD_FLOOR

    settings = {**asdict(online.config.settings(teacher.fingerprint)), "codec": None}
    made_for = json.dumps([settings, STATISTICS_UTTERANCES, STATISTICS_SEED])
    file = _statistics_file(output, path)
    if file.exists():
        with np.load(file, allow_pickle=False) as arrays:
            if arrays["made_for"].item() == made_for:
                return str(file)
        if (output / "checkpoint.pth").exists():
            raise UserError(
                f"{file}: the training in {output} began with another teacher or other weights; "
                "use another --output, or remove that directory"
            )
    statistics = sample_statistics(
        teacher, sets, online.config.on("cpu").batch_seconds, STATISTICS_UTTERANCES, STATISTICS_SEED
    )
    std = np.maximum(statistics.std, STD_FLOOR)
    return _write_statistics(output, path, mean=statistics.mean, std=std, made_for=made_for)


def _statistics_file(output: Path, teacher: str) -> Path:
    return output / "data" / f"statistics_{teacher.replace('/', '_')}.npz"


def _write_statistics(output: Path, teacher: str, **arrays: object) -> str:
    file = _statistics_file(output, teacher)
    with atomic_write(file) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)
    return str(file)


def _named(config: dict) -> list[str]:
    names = (block.get("teacher") for block in distiller_blocks(config).values())
    return sorted({name for name in names if isinstance(name, str)})
