"""Teachers of a user's own class, named by dotted path: found, checked, watched.

Legend: S teacher positions, E teacher width.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.arguments import check_arguments
from distill_asr.teachers.contract import READS, Teacher

if TYPE_CHECKING:
    from distill_asr.teachers.config import TeacherConfig

GUIDE = "see docs/teachers.md, 'Your own class'"


def class_problems(kind: str, conf: dict[str, Any]) -> list[str]:
    """List what is wrong with the class, and with the arguments it would get.

    Parameters
    ----------
    kind : its dotted path.
    conf : arguments of its constructor.
    """
    try:
        found = _find(kind)
    except Exception as error:  # the import of a user's own file may raise anything
        return [
            f"kind: {kind!r} cannot be imported ({type(error).__name__}: {error}); its module must "
            "be installed, or lie in a directory of PYTHONPATH"
        ]
    if not inspect.isclass(found):
        return [f"kind: {kind!r} is not a class"]
    if not issubclass(found, Teacher):
        return [f"kind: {kind}: does not derive from distill_asr.teachers.Teacher; {GUIDE}"]
    problems = [
        f"kind: {kind}: has no method `{name}`; {GUIDE}"
        for name in sorted(found.__abstractmethods__)
    ]
    return problems + _argument_problems(found, conf)


def load_own(config: TeacherConfig, device: str) -> WatchedTeacher:
    """Build ``kind(device=device, **conf)``.

    Parameters
    ----------
    config : of a class of the user's own.
    device : of torch.

    Raises
    ------
    UserError : it cannot be built, or lacks what a teacher offers.
    """
    where = f"{config.path}: kind: {config.kind}"
    try:
        teacher = _find(config.kind)(device=device, **config.conf)
    except (ValueError, OSError) as error:
        raise UserError(f"{where}: cannot be built: {error}") from error
    problems = [f"{where}: {problem}; {GUIDE}" for problem in _attribute_problems(teacher)]
    if problems:
        raise UserError(problems)
    return WatchedTeacher(teacher, where)


class WatchedTeacher(Teacher):
    """A user's teacher, whose every answer is held against what it promised."""

    def __init__(self, teacher: Teacher, where: str) -> None:
        for name in ATTRIBUTES:
            setattr(self, name, getattr(teacher, name))
        self._teacher = teacher
        self._where = where

    def size(self, item: Any) -> int:
        """Size of an item, by the user's class."""
        return self._teacher.size(item)

    def objection(self, item: Any) -> str | None:
        """Objection to an item, by the user's class."""
        return self._teacher.objection(item)

    def states(self, items: list[Any]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each item.

        Raises
        ------
        UserError : the class gave something else.
        """
        states = self._teacher.states(items)
        if len(states) != len(items):
            raise UserError(
                f"{self._where}: states() gave {len(states)} answers to {len(items)} items; "
                "expected one each"
            )
        for row in states:
            found = (
                f"{row.dtype} {list(row.shape)}" if isinstance(row, np.ndarray) else f"{type(row)}"
            )
            if found != f"float32 [{len(row)}, {self.width}]" or len(row) == 0:
                raise UserError(
                    f"{self._where}: states() gave {found}, expected a numpy array float32 "
                    f"[positions, {self.width}] with at least one position"
                )
        return states


def _find(kind: str) -> Any:
    module, _, name = kind.rpartition(".")
    return getattr(import_module(module), name)


def _argument_problems(found: type, conf: dict[str, Any]) -> list[str]:
    problems = []
    if "device" in conf:
        problems.append("conf.device: comes from --device; remove it")
    kinds = {name: p.kind for name, p in inspect.signature(found).parameters.items()}
    if "device" not in kinds and inspect.Parameter.VAR_KEYWORD not in kinds.values():
        problems.append(f"kind: {found.__name__} takes no argument `device`; {GUIDE}")
    written = {name: value for name, value in conf.items() if name != "device"}
    return problems + check_arguments("conf", written, found, {"device"}, keywords=True)


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


# attribute: what is expected, and whether a value is that
ATTRIBUTES = {
    "reads": (" or ".join(READS), lambda v: isinstance(v, str) and v in READS),
    "step_ms": (
        "a duration in ms, None on token level",
        lambda v: v is None or (type(v) in (int, float) and v > 0),
    ),
    "width": ("a number of dimensions", lambda v: _is_count(v, 1)),
    "min_samples": ("a number of samples, 0 for text", lambda v: _is_count(v, 0)),
    "max_size": ("a largest size, None without limit", lambda v: v is None or _is_count(v, 1)),
    "fingerprint": ("a SHA-256 as hexadecimal text", lambda v: isinstance(v, str) and len(v) == 64),
    "tokens": (
        "a tuple of a name for each of the `width` last columns, None where they are no tokens",
        lambda v: v is None or (isinstance(v, tuple) and all(isinstance(t, str) for t in v)),
    ),
}


def _attribute_problems(teacher: Teacher) -> list[str]:
    problems = []
    for name, (expected, is_good) in ATTRIBUTES.items():
        if not is_good(getattr(teacher, name)):
            problems.append(f"`{name}` is {getattr(teacher, name)!r}, expected {expected}")
    return problems
