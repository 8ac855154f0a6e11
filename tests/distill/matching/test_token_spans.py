"""Characters of tokens, in every way of writing tokens."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.token_spans import pooling_weights, token_spans


def covered(tokens: list[str], text: str) -> list[str]:
    return [text[first:last] for first, last in token_spans(tokens, text)]


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        (["a", "b", "<space>", "b"], "ab b", ["a", "b", " ", "b"]),
        (["▁the", "▁c", "at", "s"], "the cats", ["the", "c", "at", "s"]),
        (["▁", "的", "猫"], "的猫", ["", "的", "猫"]),
        (["the", "cats"], "the cats", ["the", "cats"]),
        (["the", "cat", "##s"], "The CATS", ["The", "CAT", "S"]),
        (["cafe", "creme"], "Café crème", ["Café", "crème"]),
        (["h", "e", "<space>", "s"], "«He», s.", ["H", "e", " ", "s"]),
        (["##"], "a ##", None),
        (["don't"], "don't", ["don't"]),
        (["dont"], "don't", ["don't"]),
        (["d", "'", "a"], "D’a", ["D", "’", "a"]),
        (["п", "'", "я"], "п\u02bcя", ["п", "\u02bc", "я"]),
        (["ı", "i"], "Iİ", ["I", "İ"]),
        (["a", "<space>", "b"], "A-B", ["A", "-", "B"]),
        (["a", "<space>", "b"], "a - b", ["a", " ", "b"]),
        (["a", "<space>", "b"], "(a), b", ["a", " ", "b"]),
        (["ए", "<space>", "स"], "ए॰स॰", ["ए", "॰", "स"]),
        (["दी", "<space>", "न"], "दीन", None),
        (["a", "<space>", "b"], "ab", None),
        (["a", "<space>"], "a", None),
        (["हि", "न्दी"], "हिन्दी", ["हि", "न्दी"]),
        ([], "", []),
        ([], "...", []),
        ([], "a", None),
        (["a"], "", None),
        (["a"], "ab", None),
        (["a", "b"], "ba", None),
        (["<unk>"], "x", ["x"]),
        (["<unk>"], "xyz", ["xyz"]),
        (["<unk>", "<unk>"], "xy", ["x", "y"]),
        (["<unk>", "<unk>"], "x y z", ["x y z", "x y z"]),
        (["<unk>"], "", None),
        (["a", "<unk>", "b"], "axyb", ["a", "xy", "b"]),
        (["a", "<unk>", "a"], "aaa", ["a", "a", "a"]),
        (["<unk>", "a"], "bab a", ["bab", "a"]),
        (["a", "<unk>"], "a", None),
        (["a", "<space>", "<unk>", "<space>", "a"], "a ab a", ["a", " ", "ab", " ", "a"]),
        (["▁the", "[UNK]", "▁sat"], "the 猫, sat", ["the", "猫", "sat"]),
    ],
)
def test_spans(tokens: list[str], text: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="do not spell"):
            token_spans(tokens, text)
    else:
        assert covered(tokens, text) == expected


words = st.lists(st.text("abÄß猫", min_size=1, max_size=5), max_size=5)


@settings(deadline=None, max_examples=150)
@given(words, st.data())
def test_pieces_cover_words_however_they_are_cut(spoken: list[str], data: st.DataObject) -> None:
    tokens, expected = [], []
    for word in spoken:
        cuts = data.draw(st.sets(st.integers(1, len(word)), max_size=3)) | {0, len(word)}
        edges = sorted(cuts)
        pieces = [word[first:last] for first, last in pairwise(edges)]
        expected += pieces
        tokens += [("▁" if i == 0 else "") + piece for i, piece in enumerate(pieces)]
    assert covered(tokens, "  ".join(spoken)) == expected


@st.composite
def two_cuts(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[tuple[int, int]]]:
    """A text, cut in two ways; teacher pieces at white space too, special ones at the ends."""
    text = draw(st.text("ab ", max_size=12))
    cuts = []
    for _ in range(2):
        edges = sorted(draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
        cuts.append(list(pairwise(edges)))
    return text, cuts[0], [(0, 0), *cuts[1], (0, 0)]


@settings(deadline=None, max_examples=150)
@given(two_cuts())
def test_weights_count_common_characters(drawn: tuple) -> None:
    text, ours, theirs = drawn
    found = pooling_weights(ours, theirs, text)
    assert found.shape == (len(ours), len(theirs))
    for row, (first, last) in zip(found, ours, strict=True):
        places = [place for place in range(first, last) if text[place] != " "]
        common = [sum(a <= place < b for place in places) for a, b in theirs]
        expected = torch.tensor(common) / max(1, len(places))
        torch.testing.assert_close(row, expected)
        assert bool(row.any()) == bool(places)


def test_equal_cuts_are_the_identity() -> None:
    spans = [(0, 2), (2, 3), (4, 6)]
    assert torch.equal(pooling_weights(spans, spans, "abc de"), torch.eye(3))


def test_no_tokens_and_no_pieces() -> None:
    assert pooling_weights([], [(0, 1)], "a").shape == (0, 1)
    assert pooling_weights([(0, 1)], [], "a").shape == (1, 0)


def test_a_languages_tag_covers_nothing() -> None:
    text = "Ein Ei."
    tokens = ["<de>", "<space>", *"ein", "<space>", *"ei"]
    assert token_spans(tokens, text) == [(0, 0), (0, 0), *token_spans(tokens[2:], text)]
    assert token_spans(["<de>", "▁ein", "▁ei"], text)[0] == (0, 0)
    assert token_spans(["<um>", "▁ei"], "<um> ei")[0] == (0, 4)
