"""Help texts: every option of every verb says what it is."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Iterator

import pytest

from distill_asr.cli import VERBS
from distill_asr.corpora.registry import CORPORA, find_corpus


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options and arguments, those of actions of the verb too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)
        elif not isinstance(action, argparse._HelpAction | argparse._VersionAction):
            yield action


def bare(name: str, text: str) -> list[str]:
    """The option, if its help begins in the middle of a sentence or is no more than a word."""
    words = text.partition("(")[0].split()
    no_noun = {"of", "where", "such", "with", "on", "and", "which", "decides", "others", "default:"}
    return [f"{name}: {text!r}"] if len(words) < 2 or words[0].lower() in no_noun else []


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help_with_a_noun(verb: str) -> None:
    parser = argparse.ArgumentParser(prog=verb)
    importlib.import_module(VERBS[verb][0]).add_arguments(parser)
    found = []
    for action in actions(parser):
        if action.help != argparse.SUPPRESS:
            found += bare("/".join(action.option_strings) or action.dest, action.help or "")
    assert not found


@pytest.mark.parametrize("name", CORPORA)
def test_every_option_of_a_corpus_has_one(name: str) -> None:
    options = dataclasses.fields(find_corpus(name).options)
    assert not [text for one in options for text in bare(one.name, one.metadata["help"])]
