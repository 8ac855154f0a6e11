"""Reads and checks a token list, and finds the unknown tokens of a transcript.

ESPnet takes its places for granted: ``<blank>`` is token 0 of every CTC and transducer, the last
one is ``<sos/eos>``, and what is in no list becomes ``<unk>``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_asr.data.tokens import BLANK, SOS_EOS, UNKNOWN
from distill_asr.errors import UserError
from distill_asr.io.tables import read_utf8

_NAMED = 5  # mistakes of a kind, or unknown tokens, that a message names
WRITE = "`distill-asr prepare --token-list` writes one"


def read_token_list(path: str | Path) -> list[str]:
    """Tokens of a file, one a line, in the order of their ids.

    Raises
    ------
    UserError : every mistake with its line: not UTF-8, empty, blank lines, several columns,
        duplicates, special tokens missing or in another place.
    """
    lines = read_utf8(path, WRITE).split("\n")
    if lines[-1] == "":
        lines.pop()
    tokens = [line.removesuffix("\r") for line in lines]
    if problems := token_list_problems(tokens, str(path)):
        raise UserError(problems)
    return tokens


def token_list_problems(tokens: Sequence[str], where: str) -> list[str]:
    """What is wrong with a list of tokens.

    Parameters
    ----------
    where : the file, or the config that holds the list; lines are counted from 1.
    """
    if not tokens:
        return [f"{where}: the token list is empty; {WRITE}"]
    if tokens[0].startswith("\ufeff"):
        return [f"{where}:1: begins with a byte order mark; save it as UTF-8 without one"]
    lines = list(enumerate(tokens, start=1))
    empty = [f"{where}:{number}: an empty line, which would be a token; remove it"
             for number, token in lines if not token.strip()]  # fmt: skip
    columns = [
        f"{where}:{number}: {token!r} has a blank in it; write one token a line and no numbers "
        "(a space between words is <space>)"
        for number, token in lines
        if (token.strip() and len(token.split()) > 1) or token != token.strip() != ""
    ]
    first: dict[str, int] = {}
    twice = [
        f"{where}:{number}: {token!r} is in line {first[token]} already; remove one"
        for number, token in lines
        if token.strip() and first.setdefault(token, number) != number
    ]
    found = [message for kind in (empty, columns, twice) for message in _few(kind)]
    return found + ([] if columns else _misplaced(tokens, where))


def _misplaced(tokens: Sequence[str], where: str) -> list[str]:
    places = {token: number for number, token in enumerate(tokens, start=1)}
    problems = []
    for token, expected, why in (
        (BLANK, 1, "token 0 is the blank of CTC and transducers"),
        (SOS_EOS, len(tokens), "the last token begins and ends a sentence"),
    ):
        if token not in places:
            found = f"{where}:{expected}: expected {token}, found {tokens[expected - 1]!r}"
            problems.append(f"{found}: {why}; {WRITE}")
        elif places[token] != expected:
            problems.append(
                f"{where}:{places[token]}: {token} must be in line {expected}: {why}; move it there"
            )
    if UNKNOWN not in places:
        problems.append(
            f"{where}: no {UNKNOWN}, which stands for what the list lacks; add it as line 2"
        )
    return problems


def _few(messages: list[str]) -> list[str]:
    if len(messages) <= _NAMED:
        return messages
    where = messages[0].partition(":")[0]
    return [*messages[:_NAMED], f"{where}: ... and {len(messages) - _NAMED} more of this kind"]


@dataclass(frozen=True)
class Coverage:
    """How much of the transcripts a token list covers."""

    tokens: int  # in all
    unknown: Counter[str]  # tokens that are not in the list, with their counts

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        tokenize: Callable[[str], Sequence[str]],
        known: Iterable[str],
    ) -> Coverage:
        """Count over transcripts.

        Parameters
        ----------
        texts : without ids.
        tokenize : a transcript -> its tokens.
        known : tokens that are in the list.
        """
        listed, total, unknown = set(known), 0, Counter[str]()
        for text in texts:
            tokens = tokenize(text)
            total += len(tokens)
            if not listed.issuperset(tokens):
                unknown.update(token for token in tokens if token not in listed)
        return cls(total, unknown)

    def __str__(self) -> str:
        """``12 of 340 tokens (3.5 %) are not in the token list: 'A' 7, ...``."""
        count = self.unknown.total()
        share = 100 * count / max(self.tokens, 1)
        named = ", ".join(f"{token!r} {n}" for token, n in self.unknown.most_common(_NAMED))
        more = ", ..." if len(self.unknown) > _NAMED else ""
        return (
            f"{count} of {self.tokens} tokens ({share:.1f} %) are not in the token list and count "
            f"as {UNKNOWN}: {named}{more}"
        )
