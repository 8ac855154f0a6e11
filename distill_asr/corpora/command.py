"""The verb ``corpus``: build the data directories of a corpus."""

from __future__ import annotations

import argparse
import dataclasses
import os
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill_asr.corpora.check import WORDS, check_built, check_class, kind_of
from distill_asr.corpora.contract import Corpus
from distill_asr.corpora.registry import CORPORA, find_corpus


class _List(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(listing())
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options; those of a corpus follow its name."""
    parser.description = (
        f"NAME is one of {', '.join(CORPORA)}, or the dotted path of your own subclass of "
        "distill_asr.corpora.contract.Corpus. `distill-asr corpus NAME --help` shows its options."
    )
    parser.add_argument(
        "--list", nargs=0, action=_List, help="list the corpora, and what each of them needs"
    )
    parser.add_argument("name", metavar="NAME", help="name of the corpus, or a dotted path")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="--out DIR [options]",
        help="directory to write, and the options of the corpus")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Build one corpus; print a table of its sets."""
    corpus = find_corpus(args.name)
    check_class(args.name, corpus)
    out, options = parse_options(args.name, corpus, args.options)
    print(check_built(args.name, out, corpus().build(out, options)).table())
    return 0


def listing() -> str:
    """The built-in corpora: name, what it is, what it needs."""
    lines = []
    for name in CORPORA:
        corpus = find_corpus(name)
        lines += [f"{name:<18} {corpus.summary}", f"{'':<18} needs {corpus.needs}"]
    return "\n".join(lines)


def parse_options(name: str, corpus: type[Corpus], given: Sequence[str]) -> tuple[Path, Any]:
    """The data directory and the options of a corpus, from the words after its name.

    Parameters
    ----------
    name : of the corpus, for ``--help``.
    corpus : its class; each field of its ``options`` is an option here.
    given : words of the command line.

    Raises
    ------
    SystemExit : a word that is no option, a bad value, or ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog=f"distill-asr corpus {name}", description=f"{corpus.summary} Needs {corpus.needs}."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory to write the sets in"
    )
    hints = typing.get_type_hints(corpus.options)
    for one in dataclasses.fields(corpus.options):
        _add_option(parser, one, hints[one.name])
    values = vars(parser.parse_args(given))
    processes = values.get("nj")  # not every corpus has this option
    if isinstance(processes, int) and processes < 1:
        parser.error(f"argument --nj: given {processes}, expected at least 1")
    out = values.pop("out")
    return out, corpus.options(**values)


def _add_option(parser: argparse.ArgumentParser, one: dataclasses.Field, hint: object) -> None:
    flag = f"--{one.name.replace('_', '-')}"
    words, env = one.metadata.get("help", ""), one.metadata.get("env")
    if hint is bool:
        parser.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=one.default, help=words
        )
        return
    kind, default = kind_of(hint), one.default
    parse = _words if kind == WORDS else kind
    if env:
        words += f"; default: ${env}"
        default = parse(os.environ[env]) if os.environ.get(env) else default
    elif default is not None:
        shown = ",".join(default) if isinstance(default, tuple) else default
        words += f"; default: {shown}".replace("%", "%%")
    metavar = "A,B,..." if kind == WORDS else None
    parser.add_argument(flag, type=parse, default=default, metavar=metavar, help=words)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
