"""CLDR's words and sentences: script, what stands together, names of one region."""

import unicodedata

import numpy as np
import pytest

from distill_asr.corpora import cldr
from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.multilingual import LANGUAGES, PRETRAINING
from distill_asr.data.normalise import unicode_words


@pytest.mark.parametrize("language", [*LANGUAGES, *PRETRAINING])
def test_sentences_are_in_the_language_s_own_script(language: str) -> None:
    rng = np.random.default_rng(0)
    said = {cldr.sentence(language, rng) for _ in range(150)}
    assert len(said) > 140, "enough different ones"
    script = cldr.script(language)
    for text in said:
        letters = [c for c in text if unicodedata.category(c)[0] in "LM" and c != "\u02bc"]
        assert all(unicodedata.name(c).startswith(script) for c in letters), text
        assert not any(c.isdigit() for c in text), text
        words = unicode_words(text, language=language)
        assert unicode_words(words, language=language) == words


def test_the_script_is_that_of_the_language() -> None:
    codes = "bg bn el hi hy ka ml ta th tr sr mk he am".split()
    names = "CYRILLIC BENGALI GREEK DEVANAGARI ARMENIAN GEORGIAN MALAYALAM TAMIL THAI LATIN"
    assert [*map(cldr.script, codes)] == [
        *names.split(),
        "CYRILLIC",
        "CYRILLIC",
        "HEBREW",
        "ETHIOPIC",
    ]
    with pytest.raises(ValueError, match="CLDR has no language 'xx'"):
        cldr.script("xx")


@pytest.mark.parametrize("language", [*LANGUAGES, *PRETRAINING])
def test_espeak_reads_the_script(language: str) -> None:
    """A character takes the time of a sound; spelt out by its name it would take far longer."""
    text = cldr.sentence(language, np.random.default_rng(3))
    samples, rate = synth.synthesise(text, f"{language}+m1")
    assert 0.03 < len(samples) / rate / len(unicode_words(text)) < 0.2


def test_what_stands_together_belongs_together() -> None:
    words = cldr.pieces("it")
    assert "Tbilisi" in words.cities["GE"] and words.places["GE"] == "Georgia"
    assert words.currencies["GE"] == ("lari georgiano",)
    assert "georgiano" in words.languages["GE"]
    assert words.joined["standard"] == "{0} e {1}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_regions_have_as_many_names_and_share_none(language: str) -> None:
    each = cldr.regions(language)
    assert [len(names) for names in each] == [cldr.REGION_WORDS] * len(cldr.REGIONS)
    written = [unicode_words(name, language=language) for names in each for name in names]
    assert len(set(written)) == len(written)
    assert all(len(word.split()) == 1 and len(word) >= cldr.SHORTEST_NAME for word in written)


@pytest.mark.parametrize("language", LANGUAGES)
def test_topical_sentences_have_names_of_one_region(language: str) -> None:
    rng = np.random.default_rng(0)
    region = {name: i for i, names in enumerate(cldr.regions(language)) for name in names}
    drawn = [cldr.topical(language, rng) for _ in range(100)]
    for one in drawn:
        names = [one.text[first:after] for first, after in one.names]
        assert len(set(names)) == len(names) in (3, 4)
        assert len({region[name] for name in names}) == 1, one
        assert "'" not in unicode_words(one.text, language=language)
    first = {region[one.text[slice(*one.names[0])]] for one in drawn}
    assert first == set(range(len(cldr.REGIONS)))
    longer = [one for one in drawn if one.names[0][0] > 0 or one.names[-1][1] < len(one.text)]
    assert 40 < len(longer) < 90, "two in three have a month or a weekday"
