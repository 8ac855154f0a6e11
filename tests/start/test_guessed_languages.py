"""Which language texts are in."""

from __future__ import annotations

import pytest

from distill_asr.start.languages import WORDS, Languages, find_languages

SENTENCES = {
    "es": "de la casa y el campo, que no es muy grande para los niños",
    "ca": "els nens de la casa i el camp, que no és molt gran per a ells",
    "fr": "les enfants de la maison et du village, qui ne sont pas grands",
    "ro": "copiii din casă și de la sat, care nu sunt mari, pentru că este așa",
    "hu": "a gyerekek és az iskola, hogy nem is olyan nagy, de ez van meg",
    "da": "børnene og huset, det er ikke stort, men jeg har en have af roser til dig",
    "pt": "os meninos da casa e do campo, que não são muito grandes, mas uma é",
}


def found(*texts: str) -> Languages:
    return find_languages((text, None) for text in texts)


@pytest.mark.parametrize("code", SENTENCES)
def test_one_language_is_no_mixture(code: str) -> None:
    words = SENTENCES[code].replace(",", "").split()
    # short, as prompts are
    pieces = [" ".join(words[i : i + 3]) for i in range(len(words) - 2)] * 5
    languages = found(*pieces, *[SENTENCES[code]] * 10)
    assert languages.language == code
    assert not languages.mixed()


def test_a_mixture_is_told() -> None:
    texts = [SENTENCES[code] for code in ("es", "fr", "hu") for _ in range(10)]
    assert found(*texts).mixed() == {"es": 10, "fr": 10, "hu": 10}


def test_a_few_accidents_are_no_language() -> None:
    assert found("apple", "to", "no", "chair").language is None


def test_words_that_languages_share_decide_nothing() -> None:
    assert all(len(set(words.split())) == len(words.split()) for words in WORDS.values())
    assert found("de", "a de", "la").counts == {}
