"""Pieces of a text model as token units, there and back."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.data import tokens
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.errors import UserError
from distill_asr.testing.text_models import save_text_model

CHINESE = [*"我们在中国北京说话好", "abc", "##d", "1", "，"]
ENGLISH = [
    *"it s don t o clock the boys school we ll l eau and not do read ing".split(), "'", "##ing"
]  # fmt: skip


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_text_model(tmp_path_factory.mktemp("zh"), words=CHINESE))


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_text_model(tmp_path_factory.mktemp("en"), words=ENGLISH))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(list("我们在中国北京说话好")), min_size=1))
def test_chinese_characters_are_units_and_come_back(chinese: str, written: list[str]) -> None:
    pieces = PieceTokenizer(chinese)
    assert pieces.text2tokens("".join(written)) == written
    assert pieces.text2tokens(" ".join(written)) == written
    assert pieces.tokens2text(written) == "".join(written)


def test_latin_words_stay_apart_among_chinese(chinese: str) -> None:
    pieces = PieceTokenizer(chinese)
    assert pieces.text2tokens("我们ABCD 中国") == ["我", "们", "abc", "##d", "中", "国"]
    assert pieces.tokens2text(["我", "们", "abc", "##d", "中", "国"]) == "我们 abcd 中国"
    assert pieces.text2tokens("中x") == ["中", "[UNK]"] and pieces.unknown == "[UNK]"


@pytest.mark.parametrize(
    "text",
    [
        "it's", "don't read", "the boys' school", "o'clock", "we'll do", "l'eau", "it's not",
        "do not", "reading and reading", "the boys'",
    ],
)  # fmt: skip
def test_apostrophes_come_back(english: str, text: str) -> None:
    pieces = PieceTokenizer(english)
    found = pieces.text2tokens(text)
    assert "[UNK]" not in found
    assert pieces.tokens2text(found) == text


@pytest.mark.parametrize("family", ["gpt2", "xlm-roberta", "qwen2"])
def test_other_kinds_of_pieces_come_back(tmp_path: Path, family: str) -> None:
    pieces = PieceTokenizer(str(save_text_model(tmp_path, family)))
    assert pieces.tokens2text(pieces.text2tokens("ab dc")) == "ab dc"


def test_a_tokenizer_travels_to_workers(chinese: str) -> None:
    pieces = PieceTokenizer(chinese)
    pieces.text2tokens("中")
    copy = pickle.loads(pickle.dumps(pieces))
    assert copy._tokenizer is None and copy.text2tokens("中国") == ["中", "国"]


def test_token_list_by_falling_count_without_the_unknown(chinese: str) -> None:
    texts = ["中国 中国", "中 在 zz", "国"]
    found = tokens.token_list(texts, "hugging_face", chinese)
    assert found == ["<blank>", "<unk>", "中", "国", "在", "<sos/eos>"]
    assert tokens.unknown_pieces(texts, chinese) == {"zz": 1}


def test_no_such_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: cannot be loaded"):
        PieceTokenizer(str(tmp_path / "nowhere")).text2tokens("a")


def test_other_units_need_no_transformers() -> None:
    code = (
        "import sys; from distill_asr import cli; from distill_asr.data import prepare, tokens; "
        "tokens.token_list(['a b'], 'char'); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'espnet2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
