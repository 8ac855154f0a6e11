"""conf/teacher/*.yaml: which teacher, which layers, how its states are stored."""

import difflib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_asr.config import load_config
from distill_asr.errors import UserError
from distill_asr.targets.codecs import CODECS
from distill_asr.targets.manifest import Settings

KINDS = {"speech": "distill_asr.teachers.speech:SpeechTeacher"}
COMBINE = ("mean", "stack")
DTYPES = ("float32",)
KEYS = ("kind", "model", "layers", "combine", "dtype", "codec", "batch_seconds")


@dataclass(frozen=True)
class TeacherConfig:
    """A validated teacher file."""

    path: str  # of the file, for messages
    kind: str
    model: str  # hub id or local directory
    layers: tuple[int, ...]  # hidden states; 0 is what enters the first layer
    combine: str | None = None  # mean | stack (side by side in the width); None for one layer
    dtype: str = "float32"
    codec: dict[str, Any] = field(default_factory=lambda: {"name": "fp32"})
    batch_seconds: float = 60.0  # of padded audio in one teacher call

    @classmethod
    def read(cls, path: str | Path) -> "TeacherConfig":
        """Read and validate a teacher file, which may extend another.

        Raises
        ------
        UserError : all mistakes of the file at once.
        """
        content = load_config(path)
        return cls.from_mapping(content, str(path))

    @classmethod
    def from_mapping(cls, content: dict[str, Any], path: str) -> "TeacherConfig":
        """Validate the content of a teacher file; ``path`` stands in the messages."""
        problems = [f"{path}: {problem}" for problem in _problems(content)]
        if problems:
            raise UserError(problems)
        values = {key: value for key, value in content.items() if value is not None}
        values["layers"] = tuple(values["layers"])
        if len(values["layers"]) == 1:
            values.pop("combine", None)  # one layer: nothing to combine
        return cls(path=path, **values)

    def settings(self, weights_sha256: str = "") -> Settings:
        """What decides the numbers of a target."""
        return Settings(
            self.kind, weights_sha256, self.layers, self.combine, self.dtype, dict(self.codec)
        )


def _problems(content: dict[str, Any]) -> list[str]:
    problems = [_unknown("key", key, KEYS) for key in content if key not in KEYS]
    problems += [
        f"{key}: missing; {hint}" for key, hint in _REQUIRED.items() if content.get(key) is None
    ]
    for key, check in _CHECKS.items():
        if content.get(key) is not None:
            problems += [f"{key}: {problem}" for problem in check(content[key])]
    layers = content.get("layers")
    if isinstance(layers, list) and len(layers) > 1 and content.get("combine") is None:
        problems.append(
            f"combine: missing, but {len(layers)} layers are given; allowed: {', '.join(COMBINE)}"
        )
    return problems


def _check_model(value: Any) -> list[str]:
    if isinstance(value, str) and value.strip():
        return []
    return [f"given {value!r}, expected a hub id or a local directory"]


def _check_layers(value: Any) -> list[str]:
    good = (
        isinstance(value, list)
        and len(value) > 0
        and all(type(layer) is int and layer >= 0 for layer in value)
        and len(set(value)) == len(value)
    )
    if good:
        return []
    return [f"given {value!r}, expected a list of distinct layer numbers from 0 on, e.g. [24]"]


def _check_codec(value: Any) -> list[str]:
    if not isinstance(value, dict) or "name" not in value:
        return [f"given {value!r}, expected {{name: {'|'.join(CODECS)}}}"]
    if value["name"] not in list(CODECS):  # a list: what YAML gives may be unhashable
        return [_unknown("name", value["name"], CODECS)]
    options = ["name", *inspect.signature(CODECS[value["name"]]).parameters]
    return [_unknown("option", key, options) for key in value if key not in options]


def _check_batch_seconds(value: Any) -> list[str]:
    if type(value) in (int, float) and 0 < value < float("inf"):
        return []
    return [f"given {value!r}, expected a positive number of seconds"]


def _one_of(allowed: Iterable[str]) -> Any:
    return lambda value: [] if value in tuple(allowed) else [_unknown("value", value, allowed)]


def _unknown(what: str, given: Any, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    nearest = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    return f"unknown {what} {given!r}{hint}; allowed: {', '.join(allowed)}"


_REQUIRED = {
    "kind": f"one of {', '.join(KINDS)}",
    "model": "a hub id or a local directory",
    "layers": "a list of layer numbers, e.g. [24]",
}
_CHECKS = {
    "kind": _one_of(KINDS),
    "model": _check_model,
    "layers": _check_layers,
    "combine": _one_of(COMBINE),
    "dtype": _one_of(DTYPES),
    "codec": _check_codec,
    "batch_seconds": _check_batch_seconds,
}
