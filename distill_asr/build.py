"""From config blocks to objects: the one place where names become classes."""

from __future__ import annotations

import importlib

from distill_asr.distiller import CODES, Distiller, DistillerOptions, TeacherFacts, reads
from distill_asr.heads import HEADS
from distill_asr.losses import LOSSES
from distill_asr.matching import MATCHERS
from distill_asr.students.taps import TapShape

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


def head_name(head: str | None, matcher: type) -> str:
    """The head a block names, or the one its matcher's method was published with."""
    return head or getattr(matcher, "default_head", "linear")


def build_distillers(
    blocks: dict[str, DistillerOptions],
    taps: dict[str, TapShape],
    teachers: dict[str, TeacherFacts],
) -> dict[str, Distiller]:
    """One distiller a block, heads sized by the tap's and the teacher's widths and rates."""
    distillers = {}
    for name, options in blocks.items():
        tap, facts = taps[options.tap], teachers[options.teacher]
        matcher = find_class("match", options.match)(**(options.match_conf or {}))
        loss = find_class("loss", options.loss)(**(options.loss_conf or {}))
        if reads(loss) == CODES:
            codebooks, classes, _ = facts.codebooks.entries.shape
            paired = matcher.paired_width(codebooks, tap.step_ms, facts.step_ms)
            paired = loss.input_width(paired, classes)
        else:
            paired = matcher.paired_width(facts.width, tap.step_ms, facts.step_ms)
        head = find_class("head", head_name(options.head, type(matcher)))
        head = head(tap.width, paired, **(options.head_conf or {}))
        distillers[name] = Distiller(options, matcher, head, loss, facts)
    return distillers
