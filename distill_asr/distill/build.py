"""From config blocks to objects: the one place where names become classes."""

from __future__ import annotations

import inspect
from importlib import import_module
from operator import attrgetter
from typing import Any

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.contracts import CODES, CONTRACTS, POSTERIORS, Loss, Matcher
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.heads import HEADS
from distill_asr.distill.layers import layer_mixture
from distill_asr.distill.losses import LOSSES
from distill_asr.distill.matching import MATCHERS
from distill_asr.distill.states import TapShape
from distill_asr.errors import UserError, import_failure, nearest

REGISTRIES: dict[str, dict[str, type]] = {"loss": LOSSES, "match": MATCHERS, "head": HEADS}


def find_class(kind: str, name: str) -> type[Any]:
    """The class behind a short name, or behind a dotted path to a user's own.

    Parameters
    ----------
    kind : ``loss``, ``match`` or ``head``.

    Raises
    ------
    ValueError : no such name, nothing to import there, or no class of this kind.
    """
    contract = CONTRACTS[kind]
    if "." not in name:
        if name not in REGISTRIES[kind]:
            hint = nearest(name, REGISTRIES[kind])
            own = ", or the dotted path of your own" if "allowed" in hint else ""
            raise ValueError(f"unknown {name!r}{hint}{own}")
        return REGISTRIES[kind][name]
    module, _, attribute = name.rpartition(".")
    try:
        found = attrgetter(attribute)(import_module(module))
    except Exception as error:  # the import of a user's own file may raise anything
        raise ValueError(f"{name!r} cannot be imported {import_failure(error)}") from error
    if not inspect.isclass(found):
        raise ValueError(f"{name!r} is not a class")
    if not issubclass(found, contract):
        raise ValueError(
            f"{name!r} is not a {contract.__name__}; derive it from "
            f"{contract.__module__}.{contract.__name__}, whose docstring lists what it may declare"
        )
    return found


def make_matcher(block: DistillBlock) -> Matcher:
    """The matcher of a block; ValueError for a name or arguments that are wrong."""
    return find_class("match", block.match)(**(block.match_conf or {}))


def make_loss(block: DistillBlock) -> Loss:
    """The loss of a block; ValueError for a name or arguments that are wrong."""
    return find_class("loss", block.loss)(**(block.loss_conf or {}))


def head_name(named: str | None, matcher: Matcher, loss: Loss) -> str:
    """The head a block names, or the one its method was published with; none for posteriors.

    Parameters
    ----------
    named : ``head`` of the block; None where it names none.
    matcher : of the block; gives the default.
    loss : of the block; one that reads posteriors gets ``identity``.
    """
    return named or ("identity" if loss.reads == POSTERIORS else matcher.default_head)


def build_distillers(
    blocks: dict[str, DistillBlock],
    taps: dict[str, TapShape],
    teachers: dict[str, TeacherFacts],
) -> dict[str, Distiller]:
    """One distiller a block, heads sized by the tap's and the teacher's widths and rates.

    Parameters
    ----------
    blocks : of the config, by name.
    taps : of the student, by name; those that blocks name.
    teachers : facts by name; those that blocks name.

    Raises
    ------
    UserError : of every block whose student and teacher do not fit together.
    """
    distillers, problems = {}, []
    for name, options in blocks.items():
        try:
            distillers[name] = _distiller(
                name, options, taps[options.tap], teachers[options.teacher]
            )
        except ValueError as error:
            problems.append(f"distill.{name}: {error}")
    if problems:
        raise UserError(problems)
    return distillers


def _distiller(name: str, options: DistillBlock, tap: TapShape, facts: TeacherFacts) -> Distiller:
    matcher, loss = make_matcher(options), make_loss(options)
    mixture, width, classes = layer_mixture(options, facts.layers), facts.width, 0
    if mixture is not None:
        width //= mixture.count
    matcher.fit(tap, TapShape(width, facts.step_ms))
    if loss.reads == CODES:
        assert facts.codebooks is not None  # of a teacher whose targets are codes
        width, classes, _ = facts.codebooks.entries.shape
    paired = matcher.paired_width(width, tap.step_ms, facts.step_ms)
    wanted = loss.input_width(paired, classes)
    for method, given in (
        (f"match {options.match}: paired_width", paired),
        (f"loss {options.loss}: input_width", wanted),
    ):
        if type(given) is not int or given < 1:
            raise ValueError(f"{method} gave {given!r}; expected a width, a whole number above 0")
    head = find_class("head", head_name(options.head, matcher, loss))
    head = head(
        paired if matcher.reads_hypotheses else tap.width, wanted, **(options.head_conf or {})
    )
    return Distiller(options, matcher, head, loss, facts, mixture, name, paired)
