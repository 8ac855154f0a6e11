"""A token list is read whole or refused with every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_asr.data.token_list import Coverage, read_token_list, token_list_problems
from distill_asr.errors import UserError

GOOD = ["<blank>", "<unk>", "<space>", "a", "b", "<sos/eos>"]


def said(tokens: list[str]) -> list[str]:
    return token_list_problems(tokens, "t.txt")


def test_good_lists(tmp_path: Path) -> None:
    for ends in ("\n", "\r\n"):
        (tmp_path / "t.txt").write_bytes((ends.join(GOOD) + ends).encode())
        assert read_token_list(tmp_path / "t.txt") == GOOD
    assert said(["<blank>", "<unk>", "<sos/eos>"]) == []


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (GOOD[1:], "t.txt:1: expected <blank>, found '<unk>': token 0 is the blank"),
        ([*GOOD[1:], "<blank>"], "t.txt:6: <blank> must be in line 1"),
        (GOOD[:-1], "t.txt:5: expected <sos/eos>, found 'b': the last token begins and ends"),
        ([GOOD[0], GOOD[-1], *GOOD[1:-1]], "t.txt:2: <sos/eos> must be in line 6"),
        ([t for t in GOOD if t != "<unk>"], "t.txt: no <unk>, which stands for what the list"),
        ([*GOOD[:4], "a", *GOOD[4:]], "t.txt:5: 'a' is in line 4 already"),
        ([*GOOD[:4], "", *GOOD[4:]], "t.txt:5: an empty line"),
        (["\ufeff<blank>", *GOOD[1:]], "t.txt:1: begins with a byte order mark"),
        ([f"{token} {i}" for i, token in enumerate(GOOD)], "t.txt:1: '<blank> 0' has a blank in"),
        ([], "t.txt: the token list is empty"),
    ],
)
def test_each_mistake_is_named_with_its_line(tokens: list[str], found: str) -> None:
    assert any(problem.startswith(found) for problem in said(tokens)), said(tokens)


def test_all_mistakes_come_together() -> None:
    problems = said(["<blk>", "a", "a", "b", "b", "c"])
    assert len(problems) == 2 + 3
    many = said(["<blank>", "<unk>", *["x"] * 9, "<sos/eos>"])
    assert len(many) == 6 and many[-1] == "t.txt: ... and 3 more of this kind"


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\n".join(GOOD[:3]).encode() + b"\n\xfc\n")
    with pytest.raises(UserError, match=r"t\.txt:4: not UTF-8 \(byte 0xfc\)"):
        read_token_list(tmp_path / "t.txt")
    with pytest.raises(UserError, match="No such file"):
        read_token_list(tmp_path / "none.txt")


def test_what_of_the_transcripts_is_unknown() -> None:
    coverage = Coverage.of(["aab", "Ab"], list, GOOD)
    assert (
        str(coverage)
        == "1 of 5 tokens (20.0 %) are not in the token list and count as <unk>: 'A' 1"
    )
    assert not Coverage.of(["ab"], list, GOOD).unknown
