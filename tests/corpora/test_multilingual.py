"""Twenty synthetic languages: distinct sets, lost beginnings, held-out voices, the long tail."""

from pathlib import Path

import numpy as np
import pytest

from distill_asr.corpora import multilingual as corpus
from distill_asr.corpora.multilingual import LANGUAGES, PRETRAINING, Size
from distill_asr.corpora.synthesis import SpokenWord
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    corpus.build_language(out, "ta", size=SMALL)
    corpus.build_text(out / "text", ["ta", "ka"], size=SMALL)
    return out


def test_sets_are_valid_and_share_no_sentence_and_no_voice(built: Path) -> None:
    sets = {name: validate(built / name, 16000)[0] for name in ("train", "dev", "test")}
    assert [len(one) for one in sets.values()] == [5, 4, 6]
    for name, one in sets.items():
        whole, _ = validate(built / f"{name}_whole", 16000)
        assert not set(whole.text) & set(one.text), "students train on both together"
        twins = [(u, u.replace(f"-{name}-", f"-{name}_whole-")) for u in one.text]
        assert all(one.text[u] == whole.text[v] for u, v in twins)
        assert all(one.utt2spk[u] == whole.utt2spk[v] for u, v in twins)
        assert any(one.num_samples[u] != whole.num_samples[v] for u, v in twins)
    lines = (built / "text/train.txt").read_text(encoding="utf-8").splitlines()
    lines += (built / "text/dev.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len([line for line in lines if line]) >= 2 * 35 - 5
    written = {n: {unicode_words(t) for t in one.text.values()} for n, one in sets.items()}
    for held_out in ("dev", "test"):
        others = {text for name, texts in written.items() if name != held_out for text in texts}
        assert not written[held_out] & (others | set(lines))
        voices = {v for name, one in sets.items() if name != held_out for v in one.utt2spk.values()}
        assert not set(sets[held_out].utt2spk.values()) & voices
    test_voices = set(corpus.TEST_VOICES) | set(corpus.DEV_VOICES)
    assert not test_voices & set(corpus.TRAIN_VOICES)


def test_the_same_seed_gives_the_same_audio_wherever_it_is_built(
    built: Path, tmp_path: Path
) -> None:
    made = corpus.build_language(tmp_path, "ta", size=SMALL, nj=2)
    assert len(made) == 6
    for name in made:
        one, other = validate(built / name)[0], validate(tmp_path / name)[0]
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


def test_a_knock_takes_the_place_of_a_beginning_and_two_phones_are_left() -> None:
    samples = np.arange(1.0, 101.0, dtype=np.float32)
    words = [SpokenWord(0, (5, 20, 30, 40)), SpokenWord(7, (50, 60)), SpokenWord(12, (70, 80, 90))]

    def cut(*names: tuple[int, int]) -> np.ndarray:
        return corpus.without_beginnings(samples, words, names, 50, np.random.default_rng(0))

    np.testing.assert_array_equal(cut(), samples)
    np.testing.assert_array_equal(cut((7, 11)), samples, "no phone too many")
    kept = cut((12, 18), (0, 6), (7, 11))
    assert kept.dtype == np.float32 and len(kept) == 100 - 25 - 10 + 2 * 10
    knocks = [kept[5:15], kept[55:65]]
    np.testing.assert_array_equal(
        np.delete(kept, np.r_[5:15, 55:65]), np.delete(samples, np.r_[5:30, 70:80])
    )
    for knock in knocks:
        assert np.sqrt(np.mean(knock**2)) == pytest.approx(np.sqrt(np.mean(samples**2)), rel=1e-5)


def test_two_names_in_five_are_cut_and_one_always_stays() -> None:
    drawn = corpus.draw("it", "train", 600, 0, frozenset())
    planned = corpus.plan("it", "train", drawn, ("m1",), 0, lost=0.4)
    names = sum(len(one.names) for one in drawn)
    cut = [one.plan[3] for one in planned]
    assert 0.3 < sum(map(len, cut)) / names < 0.42
    for one, spans in zip(drawn, cut, strict=True):
        assert set(spans) < set(one.names)
    assert not any(one.plan[3] for one in corpus.plan("it", "train", drawn, ("m1",), 0))


def test_every_word_of_a_set_is_in_the_text_and_has_its_letters(tmp_path: Path) -> None:
    """So that words are the text model's pieces, and one list of letters does for all."""
    corpus.build_text(tmp_path, LANGUAGES, size=Size.at_most(4))
    known = set((tmp_path / "train.txt").read_text(encoding="utf-8").split())
    listed = (tmp_path / "letters.txt").read_text(encoding="utf-8").splitlines()
    assert listed[:2] == ["<blank>", "<unk>"] and listed[-1] == "<sos/eos>"
    letters = set(listed)
    for language in LANGUAGES:
        for one in corpus.draw(language, "test", 100, 0, frozenset()):
            words = unicode_words(one.text, language=language)
            assert set(words.split()) <= known, language
            assert set(words) - {" "} <= letters, language


def test_a_language_that_is_not_among_the_twenty(tmp_path: Path) -> None:
    made = corpus.build_language(tmp_path, "mk", size=SMALL)
    assert made["train"].utterances == round((0.2 * 0.4) ** 0.5 * 60 / 2.65)
    options = corpus.MultilingualOptions(text=("mk", "ka"), utterances=4)
    corpus.Multilingual().build(tmp_path / "text", options)
    known = set((tmp_path / "text/train.txt").read_text(encoding="utf-8").split())
    for language in ("mk", "it"):
        words = corpus.draw(language, "test", 1, 0, frozenset())[0].text
        assert set(unicode_words(words, language=language).split()) <= known


def test_languages_that_cannot_be_spoken_are_refused_together() -> None:
    with pytest.raises(UserError) as caught:
        corpus.check_languages(["xx", "en", "ja", "ast", "ta", "ta"])
    reasons = [
        "CLDR has no language",
        "pre-trained on it",
        "has 0 names",
        "espeak-ng has no voice",
        "once",
    ]
    assert len(caught.value.problems) == len(reasons)
    for reason, problem in zip(reasons, caught.value.problems, strict=True):
        assert reason in problem
