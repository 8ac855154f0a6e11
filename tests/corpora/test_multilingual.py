"""Twenty synthetic languages: script, distinct sets, held-out voices, the long tail."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from distill_asr.corpora import multilingual as corpus
from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.multilingual import LANGUAGES, PRETRAINING, Size
from distill_asr.data.datadir import validate
from distill_asr.data.normalise import unicode_words
from distill_asr.errors import UserError

SMALL = Size(
    minutes=(0.2, 0.4), dev=4, test=6, pretraining_minutes=0.1, sentences=30, dev_sentences=5
)


def test_the_paper_s_kind_of_languages() -> None:
    assert len(LANGUAGES) == len(set(LANGUAGES)) == 20
    assert not set(LANGUAGES) & set(PRETRAINING)


def test_a_long_tail() -> None:
    each = [corpus.minutes(language) for language in LANGUAGES]
    assert each[0] == pytest.approx(2) and each[-1] == pytest.approx(60)
    ratios = np.divide(each[1:], each[:-1])
    assert ratios == pytest.approx(ratios[0]) and ratios[0] > 1


@pytest.mark.parametrize("language", [*LANGUAGES, *PRETRAINING])
def test_sentences_are_in_the_language_s_own_script(language: str) -> None:
    rng = np.random.default_rng(0)
    said = {corpus.sentence(language, rng) for _ in range(150)}
    assert len(said) > 140, "enough different ones"
    for text in said:
        letters = [c for c in text if unicodedata.category(c)[0] in "LM" and c != "\u02bc"]
        script = corpus.SCRIPTS.get(language, "LATIN")
        assert all(unicodedata.name(c).startswith(script) for c in letters), text
        assert not any(c.isdigit() for c in text), text
        words = unicode_words(text, language=language)
        assert unicode_words(words, language=language) == words


@pytest.mark.parametrize("language", [*LANGUAGES, *PRETRAINING])
def test_espeak_reads_the_script(language: str) -> None:
    """A character takes the time of a sound; spelt out by its name it would take far longer."""
    text = corpus.sentence(language, np.random.default_rng(3))
    samples, rate = synth.synthesise(text, f"{language}+m1")
    assert 0.03 < len(samples) / rate / len(unicode_words(text)) < 0.2


def test_what_stands_together_belongs_together() -> None:
    words = corpus.pieces("it")
    assert "Tbilisi" in words.cities["GE"] and words.places["GE"] == "Georgia"
    assert words.currencies["GE"] == ("lari georgiano",)
    assert "georgiano" in words.languages["GE"]
    assert words.joined["standard"] == "{0} e {1}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    corpus.build_language(out, "ta", size=SMALL)
    corpus.build_text(out / "text", ["ta", "ka"], size=SMALL)
    return out


def test_sets_are_valid_and_share_no_sentence_and_no_voice(built: Path) -> None:
    sets = {name: validate(built / name, 16000)[0] for name in ("train", "dev", "test")}
    assert [len(one) for one in sets.values()] == [5, 4, 6]
    lines = (built / "text/train.txt").read_text(encoding="utf-8").splitlines()
    lines += (built / "text/dev.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len([line for line in lines if line]) >= 2 * 35 - 5
    for held_out in ("dev", "test"):
        others = {
            text for name, one in sets.items() if name != held_out for text in one.text.values()
        }
        assert not set(sets[held_out].text.values()) & (others | set(lines))
        voices = {v for name, one in sets.items() if name != held_out for v in one.utt2spk.values()}
        assert not set(sets[held_out].utt2spk.values()) & voices
    test_voices = set(corpus.TEST_VOICES) | set(corpus.DEV_VOICES)
    assert not test_voices & set(corpus.PRETRAINING_VOICES)


def test_the_same_seed_gives_the_same_audio_wherever_it_is_built(
    built: Path, tmp_path: Path
) -> None:
    made = corpus.build_language(tmp_path, "ta", size=SMALL, prefix="ta_")
    assert set(made) == {"ta_train", "ta_dev", "ta_test"}
    for name in ("train", "dev", "test"):
        one, other = validate(built / name)[0], validate(tmp_path / f"ta_{name}")[0]
        assert [*one.text.values()] == [*other.text.values()]
        for first, second in zip(one.wav.values(), other.wav.values(), strict=True):
            assert Path(first).read_bytes() == Path(second).read_bytes()


def test_pre_training_has_all_its_languages_in_phones(tmp_path: Path) -> None:
    corpus.build_pretraining(tmp_path, size=SMALL)
    data, _ = validate(tmp_path / "pretrain", 16000)
    assert {speaker.split("_")[0] for speaker in data.utt2spk.values()} == set(PRETRAINING)
    used = set("".join(data.text.values()))
    assert "ʃ" in used and not used & set("ˈˌ()АБабക")


def test_phones_are_words_without_stress() -> None:
    assert corpus.spoken_phones("ინგლისური, მონსერატი", "ka") == "inɡlisuri monserati"
    assert corpus.spoken_phones("ตูวาลู", "th") == "tuː2wa2sluː", "lengths and tones stay"


def test_other_languages_are_refused_together() -> None:
    with pytest.raises(UserError) as caught:
        corpus.check_languages(["xx", "en", "ta", "ta"])
    assert len(caught.value.problems) == 3
    assert "languages 'xx en ta ta': expected each one once" in caught.value.problems[-1]
