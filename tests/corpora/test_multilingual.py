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
        assert whole.text == one.text and whole.utt2spk == one.utt2spk
        pairs = [(one.num_samples[u], whole.num_samples[u]) for u in one.text]
        assert all(cut <= uncut for cut, uncut in pairs) and any(a < b for a, b in pairs)
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
    assert not test_voices & set(corpus.PRETRAINING_VOICES)


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


def test_a_beginning_is_lost_and_two_phones_are_left() -> None:
    samples = np.arange(100.0, dtype=np.float32)
    words = [SpokenWord(0, (5, 20, 30, 40)), SpokenWord(7, (50, 60)), SpokenWord(12, (70, 80, 90))]
    assert corpus.without_beginnings(samples, words, []) is not samples
    np.testing.assert_array_equal(corpus.without_beginnings(samples, words, []), samples)
    kept = corpus.without_beginnings(samples, words, [(0, 6), (7, 11), (12, 18)])
    expected = [i for i in range(100) if not (5 <= i < 30 or 70 <= i < 80)]
    np.testing.assert_array_equal(kept, expected)


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
    listed = Path(__file__).parents[2] / "egs/mini_multilingual/asr1/conf/letters.txt"
    letters = set(listed.read_text(encoding="utf-8").splitlines())
    for language in LANGUAGES:
        for one in corpus.draw(language, "test", 100, 0, frozenset()):
            words = unicode_words(one.text, language=language)
            assert set(words.split()) <= known, language
            assert set(words) - {" "} <= letters, language


def test_other_languages_are_refused_together() -> None:
    with pytest.raises(UserError) as caught:
        corpus.check_languages(["xx", "en", "ta", "ta"])
    assert len(caught.value.problems) == 3
    assert "languages 'xx en ta ta': expected each one once" in caught.value.problems[-1]
