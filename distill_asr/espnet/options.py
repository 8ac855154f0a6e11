"""Checks ESPnet's own keys of a training config: options of its task, and its class choices."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping

from espnet2.asr.ctc import CTC
from espnet2.asr_transducer.activation import get_activation
from espnet2.asr_transducer.joint_network import JointNetwork
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from espnet2.utils import types as espnet_types

from distill_asr.errors import nearest
from distill_asr.espnet.plugin import STUDENTS
from distill_asr.espnet.task import DistillTask
from distill_asr.io.arguments import check_arguments, check_value

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
# arguments that ESPnet's builder gives; a config that gives them too would clash
BUILDER_GIVES = {
    "encoder": {"input_size"},
    "postencoder": {"input_size"},
    "decoder": {"vocab_size", "encoder_output_size", "embed_pad"},
    "model": {
        "vocab_size", "token_list", "frontend", "specaug", "normalize", "preencoder", "encoder",
        "postencoder", "decoder", "ctc", "joint_network", "joint_net_conf",
    },
    "preprocessor": {
        "train", "token_type", "token_list", "bpemodel", "non_linguistic_symbols", "text_cleaner",
        "g2p_type", "rir_scp", "rir_apply_prob", "noise_scp", "noise_apply_prob",
        "noise_db_range", "short_noise_thres", "speech_volume_normalize", "aux_task_names",
        "use_lang_prompt", "use_nlp_prompt",
    },
}  # fmt: skip
# keys that decide what student is built
STUDENT_KEYS = {
    key
    for choice in DistillTask.class_choices_list
    for key in (choice.name, f"{choice.name}_conf")
    if choice.name != "preprocessor"
} | {"ctc_conf", "joint_net_conf", "model", "decoder", "token_list"}


def check_options(config: Mapping[str, object]) -> list[str]:
    """Every key of a config that is ESPnet's: unknown ones, types, class names, arguments."""
    return check_top_level(config, DistillTask.get_parser()) + check_classes(config)


def check_top_level(config: Mapping[str, object], parser: argparse.ArgumentParser) -> list[str]:
    """Unknown keys, values outside an option's choices, and wrong types.

    Parameters
    ----------
    config : a whole training config.
    parser : of ESPnet's task.
    """
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
            problems += check_value(key, value, OPTION_TYPES[action.type], action.default)
    return problems


def check_classes(config: Mapping[str, object]) -> list[str]:
    """Every registered choice, with the arguments of its ``_conf``."""
    registries = {c.name: (c.classes, c.default) for c in DistillTask.class_choices_list}
    registries |= {"optim": (optim_classes, "adadelta"), "scheduler": (scheduler_classes, None)}
    registries["model"] = (STUDENTS, None)
    problems = []
    for name, (classes, default) in registries.items():
        given = BUILDER_GIVES.get(name, {"params", "optimizer"})
        problems += check_choice(config, name, classes, default, given)
    problems += check_arguments(
        "ctc_conf", config.get("ctc_conf"), CTC, {"odim", "encoder_output_size"}
    )
    return problems + check_joint_network(config.get("joint_net_conf"))


def check_choice(
    config: Mapping[str, object],
    name: str,
    classes: Mapping[str, type],
    default: str | None,
    given: set[str],
) -> list[str]:
    """One of ESPnet's class choices and its ``_conf``.

    Parameters
    ----------
    config : a whole training config.
    name : of the choice, such as ``encoder``.
    classes : by the name that the config gives.
    default : name of the class where the config gives none.
    given : arguments that the builder gives.
    """
    chosen = config.get(name, default)
    conf = config.get(f"{name}_conf")
    if chosen is None:
        return [f"{name}_conf: given, but no {name} is chosen"] if conf else []
    if not isinstance(chosen, str) or chosen not in classes:
        return [f"{name}: {chosen!r} is unknown{nearest(chosen, classes)}"]
    return check_arguments(f"{name}_conf", conf, classes[chosen], given)


def check_joint_network(conf: object) -> list[str]:
    """``joint_net_conf``, whose constructor passes the rest on to the activation."""
    activation = set(inspect.signature(get_activation).parameters) - {"activation_type"}
    own = {k: v for k, v in conf.items() if k not in activation} if isinstance(conf, dict) else conf
    return check_arguments(
        "joint_net_conf", own, JointNetwork, {"output_size", "encoder_size", "decoder_size"}
    )
