"""Characters sooner: the very tokens of ESPnet's own tokenizer."""

import pickle

import pytest
from espnet2.text.char_tokenizer import CharTokenizer
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.espnet.characters import Characters, quicker


@given(st.text(st.one_of(st.sampled_from("ab \t\u3000<>'"), st.characters())))
def test_the_tokens_are_espnets(line: str) -> None:
    theirs = CharTokenizer(space_symbol="<sp>")
    ours = pickle.loads(pickle.dumps(quicker(theirs)))  # as it goes to a loader's process
    assert type(ours) is Characters
    tokens = ours.text2tokens(line)
    assert tokens == theirs.text2tokens(line)
    assert ours.tokens2text(tokens) == theirs.tokens2text(tokens)


@pytest.mark.parametrize("option", ["non_linguistic_symbols", "nonsplit_symbols"])
def test_a_tokenizer_with_symbols_stays(option: str) -> None:
    theirs = CharTokenizer(**{option: ["<noise>"]})
    assert quicker(theirs) is theirs
    assert quicker(None) is None
