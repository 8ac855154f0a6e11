"""Twenty languages, most with little audio: names of which a knock drowns the beginnings.

Sentences name three or four places and languages of one region of the world (``corpora.cldr``),
spoken by espeak-ng. A knock on the microphone drowns the beginnings of two names in five: their
last two phones are left. Which name it was shows in the other names alone, in any language; a text
model has read which names stand together. Each set is there twice, with whole names as well
(``train_whole``), for a first stage that learns the letters. Pre-training uses other languages, so
no student has been trained on any of the twenty before. Other languages than the twenty work too,
where CLDR has enough names and espeak-ng a voice.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.cldr import REGION_WORDS, Topical, regions, sentence, topical
from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.corpora.generated import SAMPLING_RATE, Planned, build_set, speaker_name
from distill_asr.data.noise import add_noise, pink_noise, scale_peak, white_noise
from distill_asr.data.normalise import unicode_words
from distill_asr.data.tokens import write_token_list
from distill_asr.errors import UserError
from distill_asr.io.audio import resample
from distill_asr.io.files import write_text_atomic

_VERSION = 4  # of the recipe below; a change makes existing sets stale

# the less audio, the earlier
LANGUAGES = tuple("ka ta et th sl lv hi lt vi fi el ca hu ro id uk cs tr pt it".split())
PRETRAINING = tuple("bg bn de en es fr hy kk ml pl ru sv sw".split())
MINUTES = (2.0, 60.0)  # of training audio: the first and the last language, geometric between
_SECONDS = 2.65  # of a sentence, about
LOST = 0.4  # of the names lose their beginning
LEFT = 2  # phones of them are left
KNOCK = 0.2  # seconds, where the beginning was

# All natural variants of espeak-ng but those below, as many speakers as a crowd's recordings have:
# with six voices, students wrote half of the names in another voice.
TRAIN_VOICES = tuple(
    "m1 f2 m3 f1 m5 f3 m2 m6 Annie Mike grandma paul Alex Alicia Andrea Denis Diogo Gene Gene2 "
    "Henrique Hugo Jacky Lee Marco Mario Michael Nguyen anika announcer antonio aunty benjamin "
    "boris david ed edward edward2 grandpa gustave ian iven iven2 iven3 iven4 john klatt klatt2 "
    "klatt3 klatt4 marcelo max michel miguel mike2 norbert pablo pedro quincy rob robert sandro "
    "shelby steph steph2 steph3 travis victor zac".split()
)
DEV_VOICES = ("m4", "f5", "adam")
TEST_VOICES = ("m7", "f4", "Andy", "belinda", "m8", "linda")
DEV_UTTERANCES, TEST_UTTERANCES = 60, 150


@dataclass(frozen=True)
class Size:
    """Sizes of the sets; smaller for tests."""

    minutes: tuple[float, float] = MINUTES
    dev: int = DEV_UTTERANCES
    test: int = TEST_UTTERANCES
    pretraining_minutes: float = 16.0  # of each language
    sentences: int = 4000  # of text, of each language
    dev_sentences: int = 200

    @classmethod
    def at_most(cls, utterances: int | None) -> "Size":
        """All sets with so many utterances of a language; text enough to have every word."""
        if not utterances:
            return cls()
        minutes = utterances * _SECONDS / 60
        text = (max(600, 10 * utterances), utterances)
        return cls((minutes, minutes), utterances, utterances, minutes, *text)


@dataclass(frozen=True)
class MultilingualOptions:
    """Options of ``Multilingual``; exactly one of the last three is given."""

    seed: int = option(0, "seed of sentences, voices and noise")
    nj: int = option(2, "number of processes; the result does not depend on it")
    utterances: int | None = option(None, "largest number of utterances in a set of a language")
    language: str | None = option(
        None, "code of the language to write to OUT/{train,dev,test} and their _whole sets"
    )
    pretraining: bool = option(False, "write OUT/{pretrain,pretrain_dev}, for the speech model")
    text: tuple[str, ...] | None = option(
        None,
        "codes of languages, split by commas; write OUT/{train,dev}.txt, sentences of these and of "
        "the twenty languages, and OUT/letters.txt, a token list of all their letters",
    )


class Multilingual(Corpus[MultilingualOptions]):
    """One of twenty languages at a time, or pre-training data for both models."""

    summary = "Synthetic speech of twenty languages, most of them with little audio."
    needs = "one of --language, --pretraining and --text"
    options = MultilingualOptions

    def build(self, out: Path, options: MultilingualOptions) -> Built:
        """Write what was asked for.

        Raises
        ------
        UserError : not exactly one of the options that choose what to build; unknown languages.
        """
        asked = (options.language, options.pretraining, options.text)
        if sum(map(bool, asked)) != 1:
            raise UserError(f"mini_multilingual: expected exactly {self.needs}")
        size = Size.at_most(options.utterances)
        if options.text:
            languages = dict.fromkeys((*LANGUAGES, *options.text))
            counts = build_text(out, [*languages], options.seed, size)
            remark = ", ".join(f"{name}: {count} sentences" for name, count in counts.items())
            return Built(remarks=(remark,))
        if options.pretraining:
            return Built(build_pretraining(out, options.seed, size, nj=options.nj))
        return Built(build_language(out, options.language, options.seed, size, nj=options.nj))


def minutes(language: str, limits: tuple[float, float] = MINUTES) -> float:
    """Planned training audio of a language, in minutes.

    Parameters
    ----------
    language : its place among ``LANGUAGES`` decides; any other has the place in the middle.
    limits : minutes of the first and of the last language.
    """
    first, last = limits
    known = language in LANGUAGES
    place = LANGUAGES.index(language) / (len(LANGUAGES) - 1) if known else 0.5
    return first * (last / first) ** place


def check_languages(languages: Sequence[str]) -> None:
    """Raise UserError for languages of which no sentences can be spoken, or given twice."""
    problems = [f"language {one!r}: {why}" for one in languages if (why := _missing(one))]
    if len(set(languages)) < len(languages) or not languages:
        problems.append(f"languages {' '.join(languages)!r}: expected each one once")
    if problems:
        raise UserError(problems)


def _missing(language: str) -> str | None:
    """What keeps a language from being spoken, and the way out."""
    way_out = f"expected some of {' '.join(LANGUAGES)}, or a language with such names and a voice"
    if language in PRETRAINING:
        return f"the speech model is pre-trained on it; {way_out}"
    try:
        fewest = min(map(len, regions(language)))
    except ValueError as error:  # CLDR does not know it
        return f"{error}; {way_out}"
    if fewest < REGION_WORDS:
        return f"a region of the world has {fewest} names of one word in CLDR; {way_out}"
    try:
        synth.transcribe(regions(language)[0][0], language)
    except ValueError:
        return f"espeak-ng has no voice for it; {way_out}"
    return None


def build_language(
    out: Path, language: str, seed: int = 0, size: Size | None = None, nj: int = 1
) -> dict[str, CorpusSet]:
    """Build ``out/{train,dev,test}`` of one language, and the same sentences whole.

    Sets that are there stay.

    Parameters
    ----------
    out : data directory.
    language : code of CLDR and espeak-ng.
    seed : decides texts, what is lost, and voices' styles.
    size : of the sets; full size where not given.
    nj : worker processes; the result does not depend on it.
    """
    check_languages([language])
    size = size or Size()
    train = round(minutes(language, size.minutes) * 60 / _SECONDS)
    plans = {
        "train": (train, TRAIN_VOICES),
        "dev": (size.dev, DEV_VOICES),
        "test": (size.test, TEST_VOICES),
    }
    sets = {}
    for name, (count, voices) in plans.items():
        drawn = draw(language, name, count, seed, _held_out(language, name, seed, size))
        for kind, lost in ((name, LOST), (f"{name}_whole", 0.0)):
            planned = plan(language, name, drawn, voices, seed, lost, kind=kind)
            settings = _settings(seed, language=language, lost=lost, left=LEFT)
            settings["size"] = [train, size.dev, size.test]
            sets[kind] = build_set(out, kind, planned, render, settings, nj=nj)
    return sets


def build_pretraining(
    out: Path, seed: int = 0, size: Size | None = None, nj: int = 1
) -> dict[str, CorpusSet]:
    """Build ``out/{pretrain,pretrain_dev}``: other languages, transcribed in phones.

    Phones are what languages share, so a model learns more from the same audio than from letters.

    Parameters
    ----------
    out : data directory.
    seed : decides texts and voices' styles.
    size : of the sets; full size where not given.
    nj : worker processes; the result does not depend on it.
    """
    size = size or Size()
    counts = {"pretrain": round(size.pretraining_minutes * 60 / _SECONDS), "pretrain_dev": 8}
    voices = {"pretrain": TRAIN_VOICES, "pretrain_dev": DEV_VOICES}
    sets = {}
    for name, count in counts.items():
        planned = []
        for language in PRETRAINING:
            rng = np.random.default_rng([seed, _number(f"{language} {name}"), 0])
            texts = [Topical(sentence(language, rng), ()) for _ in range(count)]
            planned += plan(language, name, texts, voices[name], seed, phones=True)
        settings = _settings(seed, languages=PRETRAINING, each=count)
        sets[name] = build_set(out, name, planned, render, settings, nj=nj)
    return sets


def build_text(
    out: Path, languages: Sequence[str], seed: int = 0, size: Size | None = None
) -> dict[str, int]:
    """Write ``out/{train,dev}.txt`` for a model of text: a sentence a line, of all languages.

    Words are spelled as the students', so that its pieces can be their words. Dev and test
    sentences of the speech sets are in neither. ``out/letters.txt`` is the token list of students
    that write letters.

    Parameters
    ----------
    out : a directory.
    languages : codes.
    seed : that of the speech sets.
    size : sentences a language; full size where not given.

    Returns
    -------
    Number of sentences by file name.
    """
    check_languages(languages)
    size = size or Size()
    train, dev = [], []
    for language in languages:
        kept_away = _held_out(language, "train", seed, size)
        count = size.sentences + size.dev_sentences
        texts = [one.text for one in draw(language, "text", count, seed, kept_away)]
        drawn = [unicode_words(text, language=language) for text in texts]
        dev += drawn[: size.dev_sentences]
        known = set(drawn[: size.dev_sentences])
        train += [one for one in drawn[size.dev_sentences :] if one not in known]
    for name, lines in (("train", train), ("dev", dev)):
        write_text_atomic(out / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    write_token_list(train, out / "letters.txt", "char")
    return {"train.txt": len(train), "dev.txt": len(dev)}


def draw(
    language: str, name: str, count: int, seed: int, kept_away: frozenset[str]
) -> list[Topical]:
    """``count`` sentences of a set, as people write them.

    Parameters
    ----------
    language : its code.
    name : of the set; with ``seed`` it decides the sentences.
    count : how many; one may occur twice.
    seed : of the corpus.
    kept_away : texts that may not occur.
    """
    rng = np.random.default_rng([seed, _number(f"{language} {name}"), 0])
    drawn: list[Topical] = []
    while len(drawn) < count:
        one = topical(language, rng)
        if one.text not in kept_away:
            drawn.append(one)
    return drawn


def plan(
    language: str,
    name: str,
    sentences: Sequence[Topical],
    variants: Sequence[str],
    seed: int,
    lost: float = 0.0,
    phones: bool = False,
    kind: str | None = None,
) -> list[Planned]:
    """Give each sentence a voice (in turn), an id, a seed of its own, and names that are cut.

    Parameters
    ----------
    language : its code, which is also espeak-ng's voice.
    name : of the set; with ``seed`` it decides voices' styles.
    sentences : to speak.
    variants : of the voice, taken in turn.
    seed : of the corpus.
    lost : share of the names that lose their beginning.
    phones : the transcripts are phones instead of words.
    kind : of the set, in ids; ``name`` where not given. Students train on both kinds together.
    """
    planned = []
    for number, one in enumerate(sentences):
        voice = f"{language}+{variants[number % len(variants)]}"
        speaker = speaker_name(voice)
        words = spoken_phones(one.text, language) if phones else one.text
        own = (seed, _number(f"{language} {name}"), 1, number)
        cut = tuple(s for s, x in zip(one.names, _chances(own, one), strict=True) if x < lost)
        details = (one.text, voice, own, cut)
        utterance = f"{speaker}-{kind or name}-{number:05d}"
        planned.append(Planned(utterance, speaker, words, details))
    return planned


def _chances(own: tuple[int, ...], one: Topical) -> np.ndarray:
    """A number in [0, 1) for each name; the highest of them is 1, so that this name stays."""
    chances = np.random.default_rng((*own, 2)).random(len(one.names))
    chances[chances == chances.max(initial=0.0)] = 1.0
    return chances


def spoken_phones(text: str, language: str) -> str:
    """The phones of a sentence, lengths and tones kept, words split by spaces, without stress."""
    heard = re.sub(r"\([^)]*\)", "", synth.transcribe(text, language))  # (en): foreign words begin
    return " ".join(re.sub("[\u02c8\u02cc.^-]", "", heard).split())


def render(one: Planned) -> np.ndarray:
    """Speak one planned utterance, two in three with some noise: float32 ``[N]`` at 16 kHz."""
    text, voice, seed, cut = one.plan
    rng = np.random.default_rng(seed)
    rate, pitch = int(rng.integers(130, 190)), int(rng.integers(30, 70))
    samples, original, words = synth.synthesise_words(text, voice, rate=rate, pitch=pitch)
    samples = without_beginnings(samples, words, cut, original, rng)
    samples = resample(samples, original, SAMPLING_RATE)
    noise = (None, white_noise, pink_noise)[int(rng.integers(3))]
    if noise is not None:
        samples = add_noise(samples, noise(len(samples), rng), float(rng.uniform(10, 30)))
    return scale_peak(samples, float(rng.uniform(0.3, 0.9)))


def without_beginnings(
    samples: np.ndarray,
    words: Sequence[synth.SpokenWord],
    cut: Sequence[tuple[int, int]],
    sampling_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Put a knock in the place of each name that is cut; its last ``LEFT`` phones are left.

    A knock is as loud as the utterance and always as long, so it gives nothing away.

    Parameters
    ----------
    samples : [N].
    words : spoken, with the places of their phones.
    cut : names, by their first character in the text and the one after their last.
    sampling_rate : of ``samples``, in Hz.
    rng : draws the knocks.

    Returns
    -------
    float32, another number of samples.
    """
    loudness = float(np.sqrt(np.mean(np.square(samples))))
    parts, done = [], 0
    for first, after in sorted(cut):
        phones = [p for word in words if first <= word.position < after for p in word.phones]
        if len(phones) > LEFT:
            knock = pink_noise(round(KNOCK * sampling_rate), rng)
            knock *= loudness / np.sqrt(np.mean(np.square(knock)))
            parts += [samples[done : phones[0]], knock]
            done = phones[-LEFT]
    return np.concatenate([*parts, samples[done:]]).astype(np.float32)


def _held_out(language: str, name: str, seed: int, size: Size) -> frozenset[str]:
    """Texts that a set must not contain: dev and test share none with any other."""
    if name == "test":
        return frozenset()
    test = frozenset(s.text for s in draw(language, "test", size.test, seed, frozenset()))
    if name == "dev":
        return test
    return test | {s.text for s in draw(language, "dev", size.dev, seed, test)}


def _settings(seed: int, **facts: Any) -> dict[str, Any]:
    return {"corpus": "mini_multilingual", "version": _VERSION, "seed": seed, **facts}


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
