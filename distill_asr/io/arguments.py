"""Checks keyword arguments, as a user wrote them, against the class that they go to.

The one check for all of it: training YAMLs, teachers' files, clusters, codecs, options.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

import typeguard
import yaml

from distill_asr.errors import nearest


def check_arguments(
    key: str,
    conf: object,
    target: Callable[..., object],
    given: Collection[str] = (),
    construct: bool = False,
    keywords: bool = False,
) -> list[str]:
    """Keyword arguments against a constructor or function: names, types, what is missing.

    Parameters
    ----------
    key : where they stand in the file; begins each message. May be empty.
    conf : what the user wrote; None for nothing.
    given : arguments that the caller adds, which the user must not write.
    construct : also call the target, so that it can object to values; only for cheap ones.
    keywords : any name will do where the target takes ``**keywords``.
    """
    if conf is None:
        conf = {}
    if not isinstance(conf, dict):
        return [f"{key}: expected a mapping, found {conf!r}"]
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in given and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
    }
    prefix = f"{key}." if key else ""
    problems = _check_names(prefix, conf, parameters, target.__name__, keywords)
    hints = _hints(target)
    for name, value in conf.items():
        if name in parameters and name in hints:
            default = parameters[name].default
            problems += check_value(f"{prefix}{name}", value, hints[name], default)
    if construct and not problems:
        try:
            target(**conf)
        except (ValueError, TypeError) as error:
            problems.append(f"{key}: {error}")
    return problems


def _check_names(
    prefix: str,
    conf: dict[str, Any],
    parameters: Mapping[str, inspect.Parameter],
    target: str,
    keywords: bool,
) -> list[str]:
    named = {n: p for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    problems = [
        f"{prefix}{name}: {target} takes no such argument{nearest(name, named)}"
        for name in conf
        if name not in named and not (keywords and len(named) < len(parameters))
    ]
    return problems + [
        f"{prefix}{name}: missing, {target} needs it"
        for name, parameter in named.items()
        if parameter.default is inspect.Parameter.empty and name not in conf
    ]


def _hints(target: Callable[..., object]) -> dict[str, object]:
    constructed = inspect.isclass(target) and not dataclasses.is_dataclass(target)
    try:
        return typing.get_type_hints(target.__init__ if constructed else target)
    except (NameError, TypeError):  # annotations that only resolve inside their own module
        return {}


def check_value(key: str, value: object, hint: object, default: object = ...) -> list[str]:
    """One value against a type hint; the default is always right.

    Lists count as tuples, which YAML does not have; true is not a number.

    Parameters
    ----------
    key : begins the message.
    value : as the user wrote it.
    hint : the argument's type hint.
    default : of the argument; ``...`` where it has none.
    """
    if value is default or (value is None and default is None):
        return []
    try:
        if not (isinstance(value, bool) and _numbers_only(hint)):
            _check_type(value, hint)
            return []
    except typeguard.TypeCheckError:
        pass
    if isinstance(value, list):
        try:
            _check_type(_tuples(value), hint)
            return []
        except typeguard.TypeCheckError:
            pass
    expected = (hint.__name__ if isinstance(hint, type) else str(hint)).replace("typing.", "")
    return [f"{key}: expected {expected}, found {value!r}{_number_hint(value)}"]


def _numbers_only(hint: object) -> bool:
    """Whether True, which Python takes for 1, is not meant here."""
    kinds = set(typing.get_args(hint) or (hint,))
    return bool(kinds & {int, float}) and bool not in kinds


def _check_type(value: object, hint: object) -> None:
    every = typeguard.CollectionCheckStrategy.ALL_ITEMS
    typeguard.check_type(value, hint, collection_check_strategy=every)


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _number_hint(value: object) -> str:
    """YAML 1.1 reads 1e-3 as text."""
    if not isinstance(value, str):
        return ""
    for kind in (int, float):
        try:
            return f" (text: write {yaml.safe_dump(kind(value)).split()[0]})"
        except ValueError:
            continue
    return " (text)"
