"""Checks values against the constructors and options they go to."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import typing

import typeguard
import yaml
from espnet2.utils import types as espnet_types

from distill_asr.errors import nearest

# what ESPnet's option types accept when the value comes from YAML
OPTION_TYPES: dict[object, object] = {
    int: int,
    float: float,
    str: str,
    espnet_types.str2bool: bool,
    espnet_types.int_or_none: int | None,
    espnet_types.float_or_none: float | None,
    espnet_types.str_or_none: str | None,
}
LIST_OPTIONS = {"token_list"}  # a file in the user's YAML, the list itself once resolved


def check_top_level(config: dict, parser: argparse.ArgumentParser) -> list[str]:
    """Unknown keys, values outside an option's choices, and wrong types."""
    actions = {action.dest: action for action in parser._actions}
    # class names are checked with their arguments, see check_choice
    problems = []
    for key, value in config.items():
        action = actions.get(key)
        if action is None:
            problems.append(f"{key}: unknown key{nearest(key, actions)}")
        elif action.choices is not None and f"{key}_conf" not in actions:
            if value not in action.choices and value is not None:
                problems.append(f"{key}: {value!r}{nearest(value, action.choices)}")
        elif action.nargs is None and key not in LIST_OPTIONS and action.type in OPTION_TYPES:
            problems += _check_value(key, value, OPTION_TYPES[action.type], action.default)
    return problems


def check_choice(
    config: dict, name: str, classes: dict, default: str | None, hidden: set[str]
) -> list[str]:
    """One of ESPnet's class choices and its ``_conf``.

    Parameters
    ----------
    hidden : arguments that the builder gives.
    """
    chosen = config.get(name, default)
    conf = config.get(f"{name}_conf")
    if chosen is None:
        return [f"{name}_conf: given, but no {name} is chosen"] if conf else []
    if not isinstance(chosen, str) or chosen not in classes:
        return [f"{name}: {chosen!r} is unknown{nearest(chosen, classes)}"]
    return check_arguments(f"{name}_conf", conf, classes[chosen], hidden)


def check_joint_network(conf: dict | None) -> list[str]:
    """``joint_net_conf``, whose constructor passes the rest on to the activation."""
    from espnet2.asr_transducer.activation import get_activation
    from espnet2.asr_transducer.joint_network import JointNetwork

    activation = set(inspect.signature(get_activation).parameters) - {"activation_type"}
    own = {k: v for k, v in conf.items() if k not in activation} if isinstance(conf, dict) else conf
    return check_arguments(
        "joint_net_conf", own, JointNetwork, {"output_size", "encoder_size", "decoder_size"}
    )


def check_arguments(
    key: str, conf: object, target: type, hidden: set[str], construct: bool = False
) -> list[str]:
    """Keyword arguments against a constructor: names, types, what is missing.

    Parameters
    ----------
    hidden : arguments that the builder gives.
    construct : also build the object, so that it can object to values; only for cheap ones.
    """
    if conf is None:
        conf = {}
    if not isinstance(conf, dict):
        return [f"{key}: expected a mapping, found {conf!r}"]
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in hidden and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
    }
    problems = _check_names(key, conf, parameters, target)
    hints = _hints(target)
    for name, value in conf.items():
        if name in parameters and name in hints:
            problems += _check_value(f"{key}.{name}", value, hints[name], parameters[name].default)
    if construct and not problems:
        try:
            target(**conf)
        except (ValueError, TypeError) as error:
            problems.append(f"{key}: {error}")
    return problems


def _check_names(key: str, conf: dict, parameters: dict, target: type) -> list[str]:
    named = {n: p for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    problems = [
        f"{key}.{name}: {target.__name__} takes no such argument{nearest(name, named)}"
        for name in conf
        if name not in named
    ]
    return problems + [
        f"{key}.{name}: missing, {target.__name__} needs it"
        for name, parameter in named.items()
        if parameter.default is inspect.Parameter.empty and name not in conf
    ]


def _hints(target: type) -> dict[str, object]:
    constructed = inspect.isclass(target) and not dataclasses.is_dataclass(target)
    try:
        return typing.get_type_hints(target.__init__ if constructed else target)
    except (NameError, TypeError):  # annotations that only resolve inside their own module
        return {}


def _check_value(key: str, value: object, hint: object, default: object) -> list[str]:
    if value is default or (value is None and default is None):
        return []
    try:
        if not (isinstance(value, bool) and _numbers_only(hint)):
            _check_type(value, hint)
            return []
    except typeguard.TypeCheckError:
        pass
    if isinstance(value, list):  # YAML has no tuples
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
