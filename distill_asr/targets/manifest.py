"""manifest.json: the teacher, the audio and the files of targets."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.targets.integrity import require_unchanged
from distill_asr.targets.statistics import Statistics

_FORMAT = 1
MANIFEST = "manifest.json"
SCP = "targets.scp"
_SHARD = re.compile(r"targets\.\d{4,}\.ark")
WAY_OUT = "dump again with --overwrite"
STD_FLOOR = 1e-5  # a dimension that never moves must not be divided by zero


@dataclass(frozen=True)
class Settings:
    """Settings that decide the numbers of a target: equal settings give equal targets."""

    kind: str  # speech
    weights_sha256: str
    layers: tuple[int, ...]
    combine: str | None  # mean | stack | None for a single layer
    dtype: str  # in which the teacher computed
    codec: dict[str, Any]
    control: dict[str, Any] | None = None  # what makes the teacher a control, if it is one

    def to_mapping(self) -> dict[str, Any]:
        """Plain types; ``control`` is left out for most teachers, which are not controls."""
        return _without_none(asdict(self), "control")

    def differences(self, other: "Settings") -> list[str]:
        """Name the fields that differ, as `field: mine, there other's`."""
        return [
            f"{f.name} {getattr(other, f.name)!r} instead of {getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]


@dataclass(frozen=True)
class Source:
    """Fingerprint of the data dir; paths do not enter, so that data may be moved."""

    utterances: int
    lengths_sha256: str = ""  # over `utt num_samples`: quick to compare; empty without audio
    audio_sha256: str = ""  # over `utt sha256(audio file)`: reads all the audio
    text: str = ""  # file of the data dir with the sentences; empty without text
    text_sha256: str = ""  # over `utt sentence`


@dataclass(frozen=True)
class Shard:
    """One ark file."""

    file: str
    utterances: int
    frames: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json. Legend: E width."""

    name: str  # of the teacher, as experiments call it
    model: str  # hub id or directory, for people; the checksum is what counts
    kind: str
    weights_sha256: str
    layers: tuple[int, ...]
    combine: str | None
    dtype: str
    codec: dict[str, Any]
    step_ms: float | None
    width: int
    frames: int
    mean: list[float]  # [E]
    std: list[float]  # [E], population
    source: Source
    shards: list[Shard]
    tokens: tuple[str, ...] | None = None  # of a teacher that gives posteriors
    control: dict[str, Any] | None = None  # as in ``Settings``

    @classmethod
    def load(cls, directory: str | Path) -> "Manifest":
        """Read the manifest of a finished target directory.

        Raises
        ------
        UserError : it is missing, cannot be read, or was changed.
        """
        path = Path(directory) / MANIFEST
        try:
            stored = path.read_bytes()
            content = json.loads(stored)
        except FileNotFoundError:
            raise UserError(
                f"{path}: missing, so these targets were never dumped or the dump is unfinished; "
                "run (or run again) `distill-asr dump`"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); {WAY_OUT}") from error
        manifest = cls._from_json(path, content)
        require_unchanged(path, stored, WAY_OUT)
        return manifest

    @classmethod
    def _from_json(cls, path: Path, content: Any) -> "Manifest":
        found = content.pop("format", None) if isinstance(content, dict) else None
        if found != _FORMAT:
            raise UserError(
                f"{path}: format {found!r}, this version reads format {_FORMAT}; {WAY_OUT}"
            )
        try:
            content["layers"] = tuple(content["layers"])
            if content.get("tokens") is not None:
                content["tokens"] = tuple(content["tokens"])
            content["source"] = Source(**content["source"])
            content["shards"] = [Shard(**shard) for shard in content["shards"]]
            manifest = cls(**content)
            problems = _content_problems(manifest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: not a manifest of targets ({error}); {WAY_OUT}") from error
        if problems:
            raise UserError(f"{path}: damaged: {', '.join(problems)}; {WAY_OUT}")
        return manifest

    def to_text(self) -> str:
        """The content of manifest.json."""
        content = _without_none(asdict(self), "control")
        return json.dumps({"format": _FORMAT, **content}, indent=1) + "\n"

    @property
    def settings(self) -> Settings:
        """What decides the numbers."""
        return Settings(**{f.name: getattr(self, f.name) for f in fields(Settings)})

    @property
    def statistics(self) -> Statistics:
        """Mean and deviations with the number of frames behind them."""
        std = np.array(self.std, dtype=np.float64)
        return Statistics(
            self.frames, np.array(self.mean, dtype=np.float64), np.square(std) * self.frames
        )


def _without_none(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != name or value is not None}


def _content_problems(manifest: Manifest) -> list[str]:
    """Name the fields with impossible values; paths never lead out of the directory."""
    counts = [manifest.width, manifest.frames]
    counts += [n for s in manifest.shards for n in (s.utterances, s.frames, s.bytes)]
    sound = {
        "codec": isinstance(manifest.codec, dict) and isinstance(manifest.codec.get("name"), str),
        "width, frames or shards": all(type(count) is int and count > 0 for count in counts),
        "shards (file)": all(_SHARD.fullmatch(shard.file) for shard in manifest.shards),
        "control": manifest.control is None or isinstance(manifest.control, dict),
        "step_ms": manifest.step_ms is None or 0 < manifest.step_ms < float("inf"),
        "mean": _are_numbers(manifest.mean, manifest.width),
        "std": _are_numbers(manifest.std, manifest.width),
        "source (text)": Path(manifest.source.text).name == manifest.source.text,
    }
    return [field for field, good in sound.items() if not good]


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and abs(value) < float("inf") for value in values)
    )


def pooled_statistics(manifests: Sequence[Manifest]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the frames of several targets of one teacher.

    Returns
    -------
    mean, std : float64 [E]; std is at least ``STD_FLOOR``.

    Raises
    ------
    UserError : the targets are not of one teacher.
    """
    require_same_teacher({f"{m.name} ({i})": m for i, m in enumerate(manifests, 1)})
    pooled = Statistics.pool(manifest.statistics for manifest in manifests)
    return pooled.mean, np.maximum(pooled.std, STD_FLOOR)


def require_same_teacher(manifests: dict[str, Manifest]) -> None:
    """Refuse targets that cannot be used as one.

    Parameters
    ----------
    manifests : at least one; the keys name them in the message.

    Raises
    ------
    UserError : every manifest that differs from the first, and in what.
    """
    (first_name, first), *others = manifests.items()
    problems = [
        f"{name}: not the same teacher as {first_name}: {', '.join(differences)}; "
        "dump both with one teacher config"
        for name, manifest in others
        if (differences := first.settings.differences(manifest.settings))
    ]
    if problems:
        raise UserError(problems)
