"""Help texts: every option of every verb says what it is."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from distill_asr.cli import VERBS


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options and arguments, those of actions of the verb too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)
        elif not isinstance(action, argparse._HelpAction | argparse._VersionAction):
            yield action


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help_with_a_noun(verb: str) -> None:
    parser = argparse.ArgumentParser(prog=verb)
    importlib.import_module(VERBS[verb][0]).add_arguments(parser)
    bare = []
    for action in actions(parser):
        text = action.help or ""
        if text == argparse.SUPPRESS:
            continue
        words = text.partition("(")[0].split()
        if len(words) < 2 or words[0].lower() in {"of", "where", "such", "with", "on", "default:"}:
            bare.append(f"{'/'.join(action.option_strings) or action.dest}: {text!r}")
    assert not bare
