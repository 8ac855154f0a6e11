"""Checks the blocks of ``distill:``, by what their matchers, losses and heads declare.

This module names no class: a user's own class is checked as the built-in ones are.
"""

from __future__ import annotations

from typing import Any

from distill_asr.distill.block import MISSING, REDUCTIONS, DistillBlock, written_name
from distill_asr.distill.build import find_class, head_name
from distill_asr.distill.contracts import CODES, POSTERIORS, VECTORS, Loss, Matcher
from distill_asr.distill.promises import declaration_problems, failure, forward_problems
from distill_asr.distill.schedule import weight_problems
from distill_asr.errors import UserError, nearest
from distill_asr.io.arguments import check_arguments
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.online import is_online, read_online, reads_audio
from distill_asr.train.config import TrainConfig

LATTICE_TAP = "logits"  # of a transducer, at nodes of the lattice and not at frames
_ADVICE = {  # for a loss that reads what the matcher does not pair
    VECTORS: "posteriors are compared by `loss: kl`",
    CODES: "codes have no average: use `match: frame` with `reduction: concat`, or `reduction: "
    "resample` with `interpolate: nearest`",
    POSTERIORS: "use `match: path` with `tap: logits`, or `match: ctc` with `tap: ctc`",
}


def check_blocks(config: TrainConfig) -> list[str]:
    """Everything wrong with the blocks but for their taps, which depend on the student."""
    problems = list(config.problems)
    for name, block in config.blocks.items():
        problems += check_block(f"distill.{written_name(name)}", block)
    return list(dict.fromkeys(problems))  # a block of several taps is checked for each


def check_block(key: str, block: DistillBlock) -> list[str]:
    """Names, arguments, and what must fit together.

    Parameters
    ----------
    key : place of the block, such as ``distill.hubert``, which begins each message.
    block : its keys and types are right.
    """
    problems = [
        f"{key}.{option}: {given!r}{nearest(given, allowed)}"
        for option, given, allowed in (
            ("reduce", block.reduce, REDUCTIONS),
            ("missing", block.missing, MISSING),
        )
        if given not in allowed
    ]
    problems += weight_problems(f"{key}.weight", block.weight)
    problems += [f"{key}.{problem}" for problem in block.layer_problems()]
    online, wrong = _online(key, block)
    problems += wrong
    loss = _made(key, "loss", block.loss, block.loss_conf, problems)
    matcher = _made(key, "match", block.match, block.match_conf, problems)
    if matcher is not None and loss is not None:
        problems += _check_pair(key, block, matcher, loss)
        problems += _check_reading(key, block, matcher, online)
        problems += _check_head(key, block, matcher, loss)
    elif block.head:
        problems += _check_head(key, block, Matcher(), Loss())
    return problems


def _made(
    key: str, kind: str, name: str, conf: dict[str, Any] | None, problems: list[str]
) -> Any | None:
    """A matcher or a loss; None where it cannot be made, with the reason among the problems."""
    if not name:
        return None  # reported as missing, or of a wrong type
    try:
        found = find_class(kind, name)
    except ValueError as error:
        problems.append(f"{key}.{kind}: {error}")
        return None
    wrong = check_arguments(f"{key}.{kind}_conf", conf, found)
    problems += wrong
    if wrong:
        return None
    try:
        made = found(**(conf or {}))
    except (ValueError, TypeError) as error:
        problems.append(f"{key}.{kind}_conf: {error}")
        return None
    except Exception as error:  # a user's own constructor may raise anything
        problems.append(f"{key}.{kind}: {name} cannot be made ({failure(found, error)})")
        return None
    broken = declaration_problems(kind, made)
    problems += [f"{key}.{kind}: {name}: {problem}" for problem in broken]
    return None if broken else made


def _check_pair(key: str, block: DistillBlock, matcher: Matcher, loss: Loss) -> list[str]:
    """What the loss reads, the matcher pairs; and the tap gives what the matcher needs."""
    problems = []
    if loss.reads not in matcher.takes:
        advice = _ADVICE[loss.reads]
        problems.append(
            f"{key}.match: {block.match!r} pairs {' or '.join(matcher.takes)}, and loss "
            f"{block.loss!r} reads {loss.reads}; {advice}"
        )
    if loss.needs_tokens and not matcher.has_tokens:
        problems.append(
            f"{key}.loss: {block.loss!r} compares the tokens of pairs with these options, and "
            f"`match: {block.match}` does not provide them; use `match: token`, or other loss_conf"
        )
    if matcher.only_tap is not None and block.tap not in ("", matcher.only_tap):
        problems.append(
            f"{key}.tap: {block.tap!r}, but match {block.match!r} pairs {matcher.only_tap!r}; "
            f"use `tap: {matcher.only_tap}`"
        )
    if block.tap == LATTICE_TAP and not matcher.reads_lattice:
        problems.append(
            f"{key}.match: a transducer's logits are a lattice of frames and tokens, which "
            f"{block.match!r} does not pair; use `match: path`"
        )
    if loss.reads != VECTORS and block.mixes_layers:
        problems.append(
            f"{key}.layers: loss {block.loss!r} reads {loss.reads}, which belong to no single "
            "layer; use a loss on vectors, or remove `layers` and `learn_layers`"
        )
    if loss.reads == CODES and is_online(block.teacher):
        problems.append(
            f"{key}.loss: takes codes, which an online teacher does not compute; dump it with "
            "`codec: {name: mvq}`, or choose a loss on vectors"
        )
    return problems


def _check_head(key: str, block: DistillBlock, matcher: Matcher, loss: Loss) -> list[str]:
    name = head_name(block.head, matcher, loss)
    try:
        found = find_class("head", name)
    except ValueError as error:
        return [f"{key}.head: {error}"]
    if matcher.reads_hypotheses and found.changes:
        return [
            f"{key}.head: {name!r}: both sides of `match: {block.match}` are the teacher's; remove "
            "it"
        ]
    problems = [f"{key}.head: {name}: {problem}" for problem in forward_problems("head", found)]
    problems += check_arguments(
        f"{key}.head_conf", block.head_conf, found, {"input_size", "output_size"}
    )
    if loss.reads == POSTERIORS and found.changes:
        problems.append(f"{key}.head: {name!r}: posteriors have no head; remove it")
    return problems


def _check_reading(
    key: str, block: DistillBlock, matcher: Matcher, online: TeacherConfig | None
) -> list[str]:
    """A matcher that reads hypotheses and a text teacher in the step need each other."""
    if matcher.reads_hypotheses and block.learn_layers:
        return [f"{key}.learn_layers: both sides of a pair are the teacher's; remove it"]
    if not block.teacher or (is_online(block.teacher) and online is None):
        return []  # reported already
    reads = online is not None and not reads_audio(online)
    if matcher.reads_hypotheses and not reads:
        return [
            f"{key}.teacher: {block.teacher!r}, but `match: {block.match}` needs a text teacher "
            "that runs in the training step; give its file, with `online: true`"
        ]
    if reads and not matcher.reads_hypotheses:
        return [
            f"{key}.teacher: {block.teacher}: kind: a text teacher cannot run in the training step "
            f"with `match: {block.match}`; dump it with `distill-asr dump` and give its name"
        ]
    return []


def _online(key: str, block: DistillBlock) -> tuple[TeacherConfig | None, list[str]]:
    """A teacher that runs in the training step, and what is wrong with its file."""
    if not is_online(block.teacher):
        return None, []
    problems, found = [], None
    try:
        found = read_online(block.teacher)
    except UserError as error:
        problems += [f"{key}.teacher: {problem}" for problem in error.problems]
    if block.missing == "skip":
        problems.append(
            f"{key}.missing: an online teacher computes targets for every utterance; "
            "remove `missing: skip`"
        )
    return found, problems
