"""Checks a corpus against its contract: what its class declares, and what it has built."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Any

from distill_asr.corpora.contract import Built, Corpus
from distill_asr.data.prepare import read_sources
from distill_asr.errors import Problems, UserError

WORDS = tuple[str, ...]
_KINDS = (str, int, float, bool, Path, WORDS)
_RESERVED = ("out", "help")


def kind_of(hint: object) -> Any:
    """The kind of an option's values, without None; None if it is not in ``KINDS``."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    kinds = [one for one in typing.get_args(hint) if one is not type(None)] if union else [hint]
    return kinds[0] if len(kinds) == 1 and kinds[0] in _KINDS else None


def check_class(name: str, corpus: type[Corpus[Any]]) -> None:
    """Check that a corpus can be made, and that its options can be given.

    Parameters
    ----------
    name : of the corpus, begins each message.
    corpus : its class.

    Raises
    ------
    UserError : everything in the class that is not as the contract has it.
    """
    problems = []
    if inspect.isabstract(corpus):
        problems.append("has no build(self, out, options); write one")
    options = corpus.options
    if not (isinstance(options, type) and dataclasses.is_dataclass(options)):
        problems.append(f"options is {options!r}; expected a class under @dataclass(frozen=True)")
    else:
        hints = typing.get_type_hints(options)
        for one in dataclasses.fields(options):
            problems += _option_problems(one, hints[one.name])
    if problems:
        raise UserError([f"corpus {name}: {problem}" for problem in problems])


def _option_problems(one: dataclasses.Field[Any], hint: object) -> list[str]:
    where, problems = f"options.{one.name}", []
    if kind_of(hint) is None:
        shown = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else hint
        problems.append(
            f"{where} is of type {shown}; expected str, int, float, bool, Path, tuple[str, ...], "
            "or one of these and None"
        )
    if one.default is dataclasses.MISSING:
        problems.append(
            f"{where} has no default; give one, or None if the user has to give a value"
        )
    if one.name in _RESERVED:
        problems.append(f"{where}: --{one.name} is taken; give it another name")
    return problems


def check_built(name: str, out: Path, built: object) -> Built:
    """Check that ``prepare`` can read the sets; audio is not opened.

    Parameters
    ----------
    name : of the corpus, begins messages.
    out : the data directory.
    built : what ``build`` gave.

    Raises
    ------
    UserError : everything that is wrong in them, or other numbers of utterances than were given.
    """
    if not isinstance(built, Built):
        raise UserError(f"corpus {name}: build gave {type(built).__name__}; expected Built")
    if not built.sets and not built.remarks:
        raise UserError(f"corpus {name}: build gave no set; name each in Built(sets)")
    problems = Problems()
    for folder, given in built.sets.items():
        before = len(problems)
        data, _ = read_sources(out / folder, allow_pipes=True, problems=problems)
        if len(problems) == before and len(data) != given.utterances:
            problems.add(
                "miscounted",
                f"{out / folder}: CorpusSet has {given.utterances} utterances, wav.scp has "
                f"{len(data)}; give the number that was written",
            )
        if len(problems) == before and given.labelled != (data.text is not None):
            said = "has transcripts" if given.labelled else "has none"
            problems.add(
                "transcripts",
                f"{out / folder}: CorpusSet(labelled={given.labelled}) declares that it {said}; "
                f"there is {'a' if data.text is not None else 'no'} file `text`",
            )
    problems.raise_if_any()
    return built
