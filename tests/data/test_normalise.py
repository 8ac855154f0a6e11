"""Normalised transcripts keep what is spelt, in every script, and no character goes missing."""

import json
import unicodedata
from pathlib import Path

import pytest
from espnet2.text.char_tokenizer import CharTokenizer
from espnet2.text.token_id_converter import TokenIDConverter
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.cli import main
from distill_asr.data.datadir import DataDir
from distill_asr.data.normalise import (
    FORMS,
    TranscriptRule,
    letters_only,
    plain_blanks,
    unicode_words,
)
from distill_asr.data.tokens import leading_tags, token_list, write_token_list
from distill_asr.io.tables import is_invisible
from distill_asr.testing.data_dirs import write_labelled_dir

SENTENCES = {  # as written, and their words; the latter are in NFC
    "hi": ("हिन्दी में किताब, और कहाँ?", "हिन्दी में किताब और कहाँ"),
    "ta": ("தமிழ் மொழி — மிகவும் பழமையானது!", "தமிழ் மொழி மிகவும் பழமையானது"),
    "th": ("ฉันรักน้ำและภาษาไทย…", "ฉันรักน้ำและภาษาไทย"),
    "ka": ("„გამარჯობა“, როგორ ხარ?", "გამარჯობა როგორ ხარ"),
    "ja": ("「東京へ行きたいです」、がんばって。", "東京へ行きたいです がんばって"),
    "vi": ("Tiếng Việt: rất đẹp.", "tiếng việt rất đẹp"),
    "uk": ("П’ять м'ячів, пів\u02bcяблука.", "п'ять м'ячів пів'яблука"),
    "ca": ("Col·legi d'art, l'hivern - 'sí'.", "col·legi d'art l'hivern sí"),
    "fa": ("می\u200cخواهم.", "می\u200cخواهم"),
    "tr": ("IŞIK, İstanbul!", "ışık istanbul"),
    "el": ("Ο ΟΔΥΣΣΕΑΣ, ναι.", "ο οδυσσεας ναι"),
    "de": ("Straße\u00a0Nr.\u200b 7 — „Maß“", "straße nr 7 maß"),
}
each_language = pytest.mark.parametrize("language", sorted(SENTENCES))
# of all scripts, with what stands between words and marks
anything = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("aIİlL·'’ʼ`´-.\u0301\u0307\u0323\u094d\u200c\u200d\ufe0f\u20e3 \u2028ΣΑ1"),
    ),
    max_size=30,
)


@each_language
def test_sentences(language: str) -> None:
    written, words = SENTENCES[language]
    assert unicode_words(written, language=language) == words
    assert unicode_words(unicodedata.normalize("NFD", written), language=language) == words


@each_language
def test_words_come_back_from_tokens(language: str, tmp_path: Path) -> None:
    words = SENTENCES[language][1]
    tokens = write_token_list([words], tmp_path / "tokens.txt", "char")
    tokenizer, ids = CharTokenizer(), TokenIDConverter(str(tmp_path / "tokens.txt"))
    assert ids.token_list == tokens
    numbers = ids.tokens2ids(tokenizer.text2tokens(words))
    assert tokens.index("<unk>") not in numbers
    assert tokenizer.tokens2text(ids.ids2tokens(numbers)) == words


@settings(deadline=None, max_examples=300)
@given(anything, st.sampled_from(FORMS), st.sampled_from([None, "tr", "hi"]))
def test_laws(text: str, form: str, language: str | None) -> None:
    words = unicode_words(text, form, language)
    assert unicode_words(words, form, language) == words, "twice changes nothing more"
    assert words == unicodedata.normalize(form, words)
    assert words.split() == [word for word in words.split(" ") if word], "one plain space"
    assert not any(unicodedata.category(c)[0] in "SZ" for c in words.replace(" ", ""))
    for word in words.split():
        assert unicodedata.category(word[0])[0] in "LN", "no mark, apostrophe or joiner in front"
        assert not word.endswith(("'", "·", "\u200c", "\u200d"))
    assert unicode_words(f"  «{text}»!", form, language) == words


@settings(deadline=None, max_examples=100)
@given(st.lists(anything, max_size=5), st.booleans())
def test_nothing_is_lost_from_the_alphabet(texts: list[str], tagged: bool) -> None:
    rule = TranscriptRule("unicode", language="hi", tag=tagged)
    normalised = [rule(text) for text in texts]
    tags = ["<hi>"] if tagged else []
    tokens = token_list(normalised, "char", tags=tags)
    assert len(tokens) == len(set(tokens))
    known = set(tokens[2:-1])
    for text in normalised:
        split = CharTokenizer(non_linguistic_symbols=tags)
        pieces = split.text2tokens(text)
        assert set(pieces) <= known
        assert split.tokens2text(pieces) == text


@settings(deadline=None, max_examples=100)
@given(anything)
def test_no_letter_and_no_mark_on_a_letter_is_lost(text: str) -> None:
    lowered = unicodedata.normalize("NFD", text.lower())
    letters = [c for c in lowered if unicodedata.category(c)[0] == "L" and c not in "ʼ"]
    words = unicodedata.normalize("NFD", unicode_words(text))
    assert [c for c in words if unicodedata.category(c)[0] == "L"] == letters


def test_compatibility_forms_are_a_choice() -> None:
    assert unicode_words("ＡＢＣ ﬁ") == "ａｂｃ ﬁ"
    assert unicode_words("ＡＢＣ ﬁ", "NFKC") == "abc fi"
    assert unicode_words("น้ำ", "NFKC") != "น้ำ", "why NFC is the default"


def test_what_leaves_no_trace() -> None:
    assert unicode_words("soft\u00adly 1\ufe0f\u20e3 \ufeffa") == "softly 1 a"
    assert unicode_words("\u0301a ´ 👩\u200d💻 \u093f") == "a"
    assert unicode_words("... !?") == ""


def test_letters_only_is_the_published_form() -> None:
    assert letters_only("हिन्दी में किताब") == "हनद म कतब"
    assert letters_only("n'est Ｎ° 5-è, a  b") == "nest n è a b"
    assert TranscriptRule("letters_only")("C’est!") == "cest"


def test_the_tag_stands_before_words_only() -> None:
    rule = TranscriptRule(language="sr-Latn", tag=True)
    assert rule("Dobar dan!") == "<sr-Latn> Dobar dan!"
    assert rule("") == ""
    assert TranscriptRule("unicode", language="tr", tag=True)("I.") == "<tr> ı"


def test_tags_are_one_token_each() -> None:
    texts = ["<hi> अब", "<ta> ab", "ab <hi>"]
    assert leading_tags(texts) == ["<hi>", "<ta>"]
    tokens = token_list(texts, "char", tags=["<hi>", "<ta>"])
    assert "<" in tokens, "only in front does a tag mean a language"
    assert {"<hi>", "अ", "ब", "<space>"} <= set(tokens)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"normalise": "ascii"}, "'ascii'"),
        ({"normalise": "unicode", "form": "NFD"}, "'NFD'"),
        ({"language": "Hindi"}, "'Hindi'"),
        ({"tag": True}, "needs the language"),
    ],
)
def test_bad_rules(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TranscriptRule(**arguments)


# -- `prepare` -----------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Transcripts with capitals and punctuation; one of punctuation alone."""
    folder = write_labelled_dir(tmp_path / "data")
    lines = ["anna-1 हिन्दी में, Yes!", "anna-2 ?!", "bert-1 n’est"]
    (folder / "text").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments)])


def test_prepare_normalises_and_keeps_the_original(data: Path, tmp_path: Path) -> None:
    dump, tokens = tmp_path / "dump", tmp_path / "lists" / "tokens.txt"
    options = ("--normalise", "unicode", "--tokens", "char", "--token-list", tokens)
    assert run(data, dump, *options) == 0
    assert DataDir.read(dump).text == {"anna-1": "हिन्दी में yes", "bert-1": "n'est"}
    original = (dump / "text_original").read_text(encoding="utf-8")
    assert original == "anna-1 हिन्दी में, Yes!\nbert-1 n’est\n"
    assert "anna-2" in (dump / "filtered").read_text()
    assert "no words left" in (dump / "filtered").read_text()
    listed = tokens.read_text(encoding="utf-8").split("\n")
    assert {"ह", "ि", "्", "'", "<space>", "y"} <= set(listed) and "Y" not in listed
    assert not tokens.with_suffix(".tags").exists()


def test_prepare_tags_the_language(data: Path, tmp_path: Path) -> None:
    dump, tokens = tmp_path / "dump", tmp_path / "tokens.txt"
    options = ("--normalise", "letters_only", "--language", "hi", "--language-tag")
    assert run(data, dump, *options, "--tokens", "char", "--token-list", tokens) == 0
    assert DataDir.read(dump).text["bert-1"] == "<hi> nest"
    assert (tmp_path / "tokens.tags").read_text() == "<hi>\n"
    assert "<hi>" in tokens.read_text().split("\n")


def test_another_rule_is_another_preparation(data: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    assert run(data, dump, "--normalise", "unicode") == 0
    first = json.loads((dump / "prepare.json").read_text())
    assert first["settings"]["transcripts"]["form"] == "NFC"
    assert run(data, dump) == 0
    assert DataDir.read(dump).text == DataDir.read(data).text
    assert not (dump / "text_original").exists()
    assert "transcripts" not in json.loads((dump / "prepare.json").read_text())["settings"]


def test_wrong_options_are_reported_together(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(data, tmp_path / "dump", "--unicode-form", "NFKC", "--language", "tr") == 1
    error = capsys.readouterr().err
    assert "--unicode-form NFKC needs" in error and "--language tr needs" in error
    assert run(data, tmp_path / "dump", "--language-tag") == 1
    assert "--language-tag needs --language" in capsys.readouterr().err
    assert run(data, tmp_path / "dump", "--normalise", "unicode", "--language", "Tamil") == 1
    assert "'Tamil'" in capsys.readouterr().err


@given(st.text(alphabet=st.sampled_from("ab \t\u00a0\u200b\u200d\u00ad\x85é中"), max_size=12))
def test_plain_words_take_a_short_way_to_the_same_text(text: str) -> None:
    visible = "".join(c for c in text.replace("\u200b", " ") if not is_invisible(c))
    assert plain_blanks(text) == " ".join(visible.split())
