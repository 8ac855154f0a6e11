"""What a training needs of its teachers' targets, and whether they have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.data.datadir import DataDir
from distill_asr.distill.block import DistillBlock, written_name
from distill_asr.distill.build import make_loss, make_matcher
from distill_asr.distill.contracts import CODES, POSTERIORS
from distill_asr.distill.layers import layer_problems
from distill_asr.targets.loader import TargetList
from distill_asr.targets.manifest import MANIFEST, Manifest
from distill_asr.targets.reader import read_scp
from distill_asr.targets.verify import check_targets
from distill_asr.train.config import TrainConfig


@dataclass(frozen=True)
class WantedTargets:
    """The requirements of a config's blocks on one teacher's targets."""

    teacher: str
    may_miss: bool  # every block of it has `missing: skip`
    codes: tuple[str, ...] = ()  # blocks whose loss reads codes
    # blocks whose loss reads posteriors, and what a row has besides them
    posteriors: tuple[tuple[str, int], ...] = ()
    tokens: tuple[str, ...] = ()  # the student's, where posteriors are read
    layers: tuple[tuple[str, DistillBlock], ...] = ()  # blocks that choose among layers

    def layer_problems(self, layers: Sequence[int], combine: str | None) -> list[str]:
        """Why a teacher lacks the layers of the blocks.

        Parameters
        ----------
        layers : of the targets.
        combine : how they were combined; None for one layer.
        """
        return [
            f"distill.{name}.{problem}"
            for name, block in self.layers
            for problem in layer_problems(block, layers, combine)
        ]


def wanted_targets(config: TrainConfig) -> list[WantedTargets]:
    """The requirements of a config on each teacher's targets."""
    return [wanted_of(config, teacher) for teacher in config.teachers]


def wanted_of(config: TrainConfig, teacher: str) -> WantedTargets:
    """What a config needs of one teacher; blocks with mistakes need little."""
    codes: list[str] = []
    posteriors: list[tuple[str, int]] = []
    blocks = config.blocks_of(teacher)
    for name, block in ((written_name(name), block) for name, block in blocks.items()):
        try:
            loss, matcher = make_loss(block), make_matcher(block)
        except (ValueError, TypeError):
            continue  # reported by the check of the config
        if loss.reads == CODES:
            codes.append(name)
        elif loss.reads == POSTERIORS:
            posteriors.append((name, matcher.columns))
    skips = all(block.missing == "skip" for block in blocks.values())
    tokens = student_tokens(config) if posteriors else ()
    mixing = {written_name(name): block for name, block in blocks.items() if block.mixes_layers}
    return WantedTargets(
        teacher,
        skips,
        tuple(dict.fromkeys(codes)),
        tuple(dict.fromkeys(posteriors)),
        tokens,
        tuple(mixing.items()),
    )


def student_tokens(config: TrainConfig) -> tuple[str, ...]:
    """The token list, read from its file; empty without that file."""
    listed = config.espnet.get("token_list")
    if isinstance(listed, list):  # a resolved config
        return tuple(listed)
    path = Path(config.token_list or "")
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()


def reads_text(config: TrainConfig, teacher: str) -> bool:
    """Whether a block of this teacher has a matcher that needs the teacher's input text.

    Raises
    ------
    UserError : one that does lacks what it needs for it.
    """
    matchers = [make_matcher(block) for block in config.blocks_of(teacher).values()]
    for matcher in matchers:
        matcher.check()
    return any(matcher.reads_text for matcher in matchers)


def targets_of(data: DataDir, teacher: str) -> Path:
    """The directory of a set's targets."""
    return Path(data.path) / "targets" / teacher


def with_targets(sets: Sequence[DataDir], teacher: str) -> list[DataDir]:
    """The sets that were dumped with this teacher."""
    return [data for data in sets if targets_of(data, teacher).exists()]


def target_problems(
    sets: Sequence[DataDir],
    wanted: WantedTargets,
    digests: Mapping[Path, Mapping[str, str]] | None = None,
) -> list[str]:
    """What is wrong with a teacher's targets of these sets.

    Parameters
    ----------
    sets : prepared.
    wanted : what the config needs of the teacher.
    digests : SHA-256 of each utterance's audio by the path of its set, where that is known.
    """
    known = digests or {}
    problems = [p for data in sets for p in _problems_of_set(data, wanted, known.get(data.path))]
    if wanted.may_miss and sets and not with_targets(sets, wanted.teacher):
        named = ", ".join(str(data.path) for data in sets)
        problems.append(
            f"{named}: none of them has targets of teacher {wanted.teacher!r}, so this block would "
            f"have no effect; {_dump_hint(sets[0], wanted.teacher)}"
        )
    return problems


def _problems_of_set(
    data: DataDir, wanted: WantedTargets, digests: Mapping[str, str] | None
) -> list[str]:
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
            f"{_dump_hint(data, wanted.teacher)}, or leave these utterances out of the block "
            "with `missing: skip`"
        ]
    problems = check_targets(directory, data, allow_missing=wanted.may_miss, digests=digests)
    if problems:
        return problems
    manifest = Manifest.load(directory)
    problems = _code_problems(directory, manifest, wanted)
    for problem in wanted.layer_problems(manifest.layers, manifest.combine):
        problems.append(f"{directory}: {problem}")
    return problems + [
        f"distill.{block}: {directory}: {problem}"
        for block, columns in wanted.posteriors
        for problem in posterior_problems(manifest.tokens, manifest.width, columns, wanted.tokens)
    ]


def posterior_problems(
    known: tuple[str, ...] | None, width: int, columns: int, tokens: tuple[str, ...]
) -> list[str]:
    """Why a teacher's posteriors do not fit a student.

    Parameters
    ----------
    known : its tokens; None for a teacher without posteriors.
    width : of its targets.
    columns : numbers in front of the posteriors; 3 of a lattice path.
    tokens : the student's.
    """
    if known is None:
        return [
            "holds states, but this loss takes posteriors; use those of a teacher of "
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
    if width != len(known) + columns:
        outputs = {0: "posteriors", 3: "path"}
        found = outputs.get(width - len(known), f"{width} columns")
        return [f"holds {found}; dump this teacher with `output: {outputs[columns]}`"]
    return []


def _at(tokens: Sequence[str], index: int) -> str:
    return repr(tokens[index]) if index < len(tokens) else "nothing"


def _code_problems(directory: Path, manifest: Manifest, wanted: WantedTargets) -> list[str]:
    codec = manifest.codec["name"]
    if codec == "mvq":
        return []
    return [
        f"distill.{block}.loss: takes codes, but {directory} holds vectors (codec {codec}); dump "
        "this teacher with `codec: {name: mvq}`, or choose a loss on vectors"
        for block in wanted.codes
    ]


def _dump_hint(data: DataDir, teacher: str) -> str:
    return f"`distill-asr dump --teacher <config of {teacher}> --name {teacher} {data.path}`"


def list_targets(path: Path, sets: Sequence[DataDir], wanted: WantedTargets) -> None:
    """Write which directories the training loader reads, and how many utterances lack targets.

    Parameters
    ----------
    path : the file.
    sets : of one part of the data.
    wanted : says whether sets and utterances may lack targets.
    """
    dumped = with_targets(sets, wanted.teacher)
    without = 0
    if wanted.may_miss:
        there = {u for data in dumped for u in read_scp(targets_of(data, wanted.teacher))}
        without = sum(utterance not in there for data in sets for utterance in data.wav)
    TargetList(
        tuple(str(targets_of(data, wanted.teacher)) for data in dumped),
        wanted.may_miss,
        sum(len(data.wav) for data in sets),
        without,
    ).write(path)
