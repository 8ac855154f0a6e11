"""From config blocks to objects: the one place where names become classes."""

from __future__ import annotations

import importlib

from distill_asr.distill.distiller import (
    CODES,
    POSTERIORS,
    Distiller,
    DistillerOptions,
    TeacherFacts,
    reads,
)
from distill_asr.distill.heads import HEADS
from distill_asr.distill.losses import LOSSES
from distill_asr.distill.matching import MATCHERS
from distill_asr.distill.states import TapShape
from distill_asr.errors import UserError

REGISTRIES = {"loss": LOSSES, "match": MATCHERS, "head": HEADS}


def find_class(kind: str, name: str) -> type:
    """The class behind a short name, or behind a dotted path to a user's own.

    Raises
    ------
    KeyError : no such short name.
    ImportError, AttributeError : the dotted path leads nowhere.
    """
    if "." not in name:
        return REGISTRIES[kind][name]
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def head_name(head: str | None, matcher: type, loss: type) -> str:
    """The head a block names, or the one its method was published with; none for posteriors."""
    default = "identity" if reads(loss) == POSTERIORS else "linear"
    return head or getattr(matcher, "default_head", default)


def build_distillers(
    blocks: dict[str, DistillerOptions],
    taps: dict[str, TapShape],
    teachers: dict[str, TeacherFacts],
) -> dict[str, Distiller]:
    """One distiller a block, heads sized by the tap's and the teacher's widths and rates.

    Raises
    ------
    UserError : of every block whose student and teacher do not fit together.
    """
    distillers, problems = {}, []
    for name, options in blocks.items():
        try:
            distillers[name] = _distiller(options, taps[options.tap], teachers[options.teacher])
        except ValueError as error:
            problems.append(f"distill.{name}: {error}")
    if problems:
        raise UserError(problems)
    return distillers


def _distiller(options: DistillerOptions, tap: TapShape, facts: TeacherFacts) -> Distiller:
    matcher = find_class("match", options.match)(**(options.match_conf or {}))
    loss = find_class("loss", options.loss)(**(options.loss_conf or {}))
    if reads(loss) == CODES:
        codebooks, classes, _ = facts.codebooks.entries.shape
        paired = matcher.paired_width(codebooks, tap.step_ms, facts.step_ms)
        paired = loss.input_width(paired, classes)
    else:
        paired = matcher.paired_width(facts.width, tap.step_ms, facts.step_ms)
    head = find_class("head", head_name(options.head, type(matcher), type(loss)))
    head = head(tap.width, paired, **(options.head_conf or {}))
    return Distiller(options, matcher, head, loss, facts)
