"""Checks a whole training config before any data is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch

from distill_asr.distill.block import written_name
from distill_asr.errors import UserError, nearest
from distill_asr.espnet.learning_rates import parameter_groups, scheduler_keeps_them
from distill_asr.espnet.options import STUDENT_KEYS, check_options
from distill_asr.espnet.plugin import PREDICTORS, STUDENTS
from distill_asr.espnet.task import build_untrained
from distill_asr.experiments.layout import AVERAGED
from distill_asr.models.encoders.hf_speech import without_weights
from distill_asr.models.students.base import Student
from distill_asr.teachers.online import is_online
from distill_asr.train.blocks import check_blocks
from distill_asr.train.config import TrainConfig

BY_LOSS = ("valid", "loss", "min")
RETIMING_EFFECTS = {"speed_perturb", "time_stretch", "reverse"}  # of ESPnet's preprocessor


def check_config(config: TrainConfig) -> None:
    """Check keys, types, class names, their arguments, and what must fit together.

    Raises
    ------
    UserError : every mistake, with the key, what was given and what is allowed.
    """
    problems, _ = inspect(config)
    if problems:
        raise UserError([f"{config.name}: {problem}" for problem in problems])


def inspect(config: TrainConfig) -> tuple[list[str], Student | None]:
    """Every mistake of a config, without its name, and the student where one can be built.

    The student has no distillers, statistics or anybody's weights; it is for looking at.
    """
    problems = check_options(_with_statistics(config).espnet)
    problems += _check_student(config) + _check_criterion(config)
    built, student = _check_built(config, problems)
    return problems + built + check_blocks(config), student


def _with_statistics(config: TrainConfig) -> TrainConfig:
    """The statistics that ``distill-asr train`` makes, so that the check does not miss them."""
    conf = config.espnet.get("normalize_conf") or {}
    if not config.measures_statistics or not isinstance(conf, dict):
        return config
    return config.with_espnet(normalize_conf={"stats_file": "feats_stats.npz", **conf})


def _check_student(config: TrainConfig) -> list[str]:
    """What must fit together."""
    problems = []
    model, decoder = config.espnet.get("model"), config.espnet.get("decoder")
    if model is None:
        problems.append(f"model: missing{nearest(model, STUDENTS)}")
    predictor = isinstance(decoder, str) and decoder in PREDICTORS
    if model == "transducer" and not predictor:
        problems.append(
            f"decoder: a transducer needs a predictor, found {decoder!r}"
            f"{nearest(decoder, PREDICTORS)}"
        )
    if model == "ctc" and predictor:
        problems.append(f"decoder: {decoder!r} is a predictor; use model: transducer")
    if config.needs_text and not config.espnet.get("token_list"):
        problems.append("token_list: missing; `distill-asr prepare --token-list` writes one")
    if config.needs_text and config.has_pieces and not config.espnet.get("bpemodel"):
        problems.append(
            "bpemodel: missing; token_type hugging_face needs a text model's hub id or directory"
        )
    if not config.needs_text and not config.blocks:
        problems.append("distill: model encoder_only has no other loss; add a block with a teacher")
    return problems + (_check_timing(config) if config.blocks else [])


def _check_criterion(config: TrainConfig) -> list[str]:
    """ESPnet averages a model for each criterion; later commands read that of the loss."""
    given = config.espnet.get("best_model_criterion")
    if not isinstance(given, list) or list(BY_LOSS) in given:
        return []
    return [
        f"best_model_criterion: {given} lacks {list(BY_LOSS)}, by which {AVERAGED} is averaged; "
        "add it. `--checkpoint valid.<name>.ave.pth` decodes the model of another criterion"
    ]


def _check_timing(config: TrainConfig) -> list[str]:
    """Targets are tied to the timing of the audio; distillers forbid what changes it."""
    dumped = not all(is_online(block.teacher) for block in config.blocks.values())
    effects = _effects(config.conf("preprocessor").get("data_aug_effects")) if dumped else ()
    problems = [
        f"preprocessor_conf.data_aug_effects: {effect}: changes the timing, so dumped targets do "
        "not fit; remove it, or use teachers with `online: true`"
        for effect in effects
        if effect in RETIMING_EFFECTS
    ]
    warps = config.conf("specaug").get("apply_time_warp", True)
    if config.espnet.get("specaug") == "specaug" and warps:
        problems.append(
            "specaug_conf.apply_time_warp: changes the timing of the features, so targets do not "
            "fit; set it to false"
        )
    layers = sorted({b.tap for b in config.blocks.values() if b.tap.startswith("encoder:")})
    for key in ("layer_drop_rate", "stochastic_depth_rate"):
        if config.conf("encoder").get(key) and layers:
            problems.append(
                f"encoder_conf.{key}: a dropped layer has no output for {', '.join(layers)}; set "
                "it to 0"
            )
    return problems


def _effects(block: object) -> Iterator[str]:
    """Effects at any depth of ESPnet's nested lists."""
    if isinstance(block, list):
        for part in block:
            yield from _effects(part)
    elif isinstance(block, str):
        yield block


def _check_built(config: TrainConfig, known: list[str]) -> tuple[list[str], Student | None]:
    """Build the student, so that its classes can object, and ask it for its taps.

    Parameters
    ----------
    known : mistakes found already, perhaps of keys that do not affect the student.
    """
    wrong = {problem.partition(":")[0].partition(".")[0] for problem in known}
    if wrong & STUDENT_KEYS:
        return [], None  # another student would be built
    try:
        student = untrained(config, wrong)
    except Exception as error:  # the class's own complaint about its arguments
        said = f"the student cannot be built: {type(error).__name__}: {error}"
        return ([] if known else [said]), None
    taps = student.tap_names()
    problems = [
        f"distill.{written_name(name)}.tap: this student has no {block.tap!r}"
        f"{nearest(block.tap, taps)}"
        for name, block in config.blocks.items()
        if block.tap and block.tap not in taps
    ]
    return _check_learning_rates(config, student) + problems, student


def untrained(config: TrainConfig, left_out: Collection[str] = ()) -> Student:
    """The student of a config, without distillers, statistics or initial weights.

    Parameters
    ----------
    left_out : keys of the config that are wrong, and do not affect the student.
    """
    plain: dict[str, Any] = {key: v for key, v in config.espnet.items() if key not in left_out}
    with without_weights():
        return build_untrained({**plain, "distill": {}, "normalize": None})


def _check_learning_rates(config: TrainConfig, student: Student) -> list[str]:
    """Parts that the student has, and a scheduler that leaves them their own rates."""
    rates, scheduler = config.espnet.get("learning_rates") or {}, config.espnet.get("scheduler")
    if not isinstance(rates, dict):
        return [f"learning_rates: expected rates by part, found {rates!r}"]
    try:
        groups = parameter_groups(student, rates)
    except ValueError as error:
        return [f"learning_rates.{error}"]
    if not rates or not scheduler:
        return []
    common = config.conf("optim").get("lr", 1.0)  # any that is not the parts'
    try:
        optimizer = torch.optim.SGD(groups, lr=common)
        kept = scheduler_keeps_them(optimizer, scheduler, config.conf("scheduler"))
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        return [f"scheduler_conf: {scheduler}: {type(error).__name__}: {error}"]
    if kept:
        return []
    return [
        f"learning_rates: scheduler {scheduler} gives all parts the same rate, so these would have "
        "no effect; take one that scales each, such as warmuplr or tristagelr"
    ]
