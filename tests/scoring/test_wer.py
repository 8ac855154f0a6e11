"""Edit counts, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.errors import UserError
from distill_asr.scoring.wer import Counts, Edits, count_edits, read_text, total

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "é"]), max_size=8)


@pytest.mark.parametrize(
    ("said", "heard", "words", "characters"),
    [
        ("the cat sat", "the cat sat", (3, 0, 0, 0), (11, 0, 0, 0)),
        ("the cat sat", "the bat sat", (2, 1, 0, 0), (10, 1, 0, 0)),
        ("the cat sat", "the cat sat down", (3, 0, 1, 0), (11, 0, 5, 0)),
        ("the cat sat", "the sat", (2, 0, 0, 1), (7, 0, 0, 4)),
        ("the cat sat", "", (0, 0, 0, 3), (0, 0, 0, 11)),
        ("ab", "a b", (0, 1, 1, 0), (2, 0, 1, 0)),
        ("你好", "你们好", (0, 1, 0, 0), (2, 0, 1, 0)),
    ],
)
def test_hand_counted(said: str, heard: str, words: tuple, characters: tuple) -> None:
    edits = count_edits({"u": said}, {"u": heard})["u"]
    assert edits == Edits(Counts(*words), Counts(*characters))


@given(pairs=st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=5))
def test_laws(pairs: list) -> None:
    said = {f"u{i}": " ".join(a) for i, (a, _) in enumerate(pairs)}
    heard = {f"u{i}": " ".join(b) for i, (_, b) in enumerate(pairs)}
    edits = count_edits(said, heard)
    assert list(edits) == list(said)
    for (utterance, e), (a, b) in zip(edits.items(), pairs, strict=True):
        for c, x, y in (
            (e.words, a, b),
            (e.characters, said[utterance], heard[utterance]),
        ):
            assert c.reference == len(x)
            assert c.hits + c.substitutions + c.insertions == len(y)
            assert (c.errors == 0) == (x == y)
            assert abs(len(x) - len(y)) <= c.errors <= max(len(x), len(y))
            assert c.rate == pytest.approx(c.errors / len(x))
        # an utterance's counts do not depend on its company
        assert count_edits({"v": said[utterance]}, {"v": heard[utterance]})["v"] == e
    assert total(edits.values()).words.reference == sum(len(a) for a, _ in pairs)


def test_swapping_swaps_insertions_and_deletions() -> None:
    there = count_edits({"u": "a b c"}, {"u": "a c"})["u"].words
    back = count_edits({"u": "a c"}, {"u": "a b c"})["u"].words
    assert (there.insertions, there.deletions) == (back.deletions, back.insertions) == (0, 1)


def test_ids_must_answer_each_other() -> None:
    with pytest.raises(UserError) as error:
        count_edits({"u1": "a", "u2": "b"}, {"u2": "b", "x": "c"})
    missing, unknown = error.value.problems
    assert "none for 1 utterance(s) (u1);" in missing
    assert "no reference for 1 utterance(s) (x);" in unknown


def test_many_ids_are_counted_and_some_named() -> None:
    with pytest.raises(UserError) as error:
        count_edits({f"u{i}": "a" for i in range(12)}, {})
    assert "12 utterance(s) (u0, u1, u10, u11, u2, ...)" in str(error.value)


def test_empty_reference_is_refused() -> None:
    with pytest.raises(UserError, match=r"empty for 1 utterance\(s\) \(u2\)"):
        count_edits({"u1": "a", "u2": ""}, {"u1": "a", "u2": "a"})
    with pytest.raises(UserError, match="no utterance"):
        count_edits({}, {})


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("u1  Hello\t big   World \nu2\n\nu3 ÄÖ\n", encoding="utf-8")
    assert read_text(path) == {"u1": "Hello big World", "u2": "", "u3": "ÄÖ"}
    assert read_text(path, lowercase=True) == {"u1": "hello big world", "u2": "", "u3": "äö"}


def test_reading_refuses(tmp_path: Path) -> None:
    path = tmp_path / "text"
    with pytest.raises(UserError, match="no such file"):
        read_text(path)
    path.write_text("u1 a\nu1 b\nu2 c\nu2 c\n")
    with pytest.raises(UserError) as error:
        read_text(path)
    assert [p.split(": ")[1].rsplit(":")[-1] for p in error.value.problems] == ["2", "4"]
    path.write_bytes(b"u1 \xff\n")
    with pytest.raises(UserError, match="UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a one\u00a0two\r\n", "one two"),
        ("a one\u200b two\n", "one two"),
        ("a one\u0085two\u2028three\n", "one two three"),
        ("a <um> one\n", "<um> one"),  # no language tag where none was put there
        ('a *one* "two"\n', '*one* "two"'),
        ("a\n", ""),
    ],
)
def test_odd_lines(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "text").write_bytes(line.encode())
    assert read_text(tmp_path / "text") == {"a": words}
