"""Twenty languages, most with little audio, and others: CLDR's words, espeak-ng's voices.

Sentences are made of what CLDR has in a language's own script and wording alone: territories,
cities, languages, currencies, months, weekdays, and the words for "and" and "or". Words that stand
together belong together (a city and its country, a country and its currency), so that a text model
can predict them. Pre-training uses other languages, so no student has been trained on any of the
twenty before.
"""

import functools
import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.corpora.generated import SAMPLING_RATE, Planned, build_set, speaker_name
from distill_asr.data.noise import add_noise, pink_noise, scale_peak, white_noise
from distill_asr.errors import UserError
from distill_asr.io.audio import resample
from distill_asr.io.files import write_text_atomic

_VERSION = 2  # of the recipe below; a change makes existing sets stale

# the less audio, the earlier
LANGUAGES = tuple("ka ta et th sl lv hi lt vi fi el ca hu ro id uk cs tr pt it".split())
PRETRAINING = tuple("bg bn de en es fr hy kk ml pl ru sv sw".split())
MINUTES = (2.0, 60.0)  # of training audio: the first and the last language, geometric between
_SECONDS = 2.4  # of a sentence, about

SCRIPTS = {
    "bg": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "hi": "DEVANAGARI", "hy": "ARMENIAN",
    "ka": "GEORGIAN", "kk": "CYRILLIC", "ml": "MALAYALAM", "ru": "CYRILLIC", "ta": "TAMIL",
    "th": "THAI", "uk": "CYRILLIC",
}  # fmt: skip
LATIN = "LATIN"
APOSTROPHE = "\u02bc"  # a letter of no script, for Unicode

TRAIN_VOICES = ("m1", "f2", "m3", "f1", "m5", "f3")
DEV_VOICES = ("m4", "f5", "adam")
TEST_VOICES = ("m7", "f4", "Andy", "belinda", "m8", "linda")
PRETRAINING_VOICES = ("m2", "m6", "Annie", "Mike", "grandma", "paul", *TRAIN_VOICES)
DEV_UTTERANCES, TEST_UTTERANCES = 60, 150
LONGEST_PIECE = 28  # characters


@dataclass(frozen=True)
class Size:
    """Sizes of the sets; smaller for tests."""

    minutes: tuple[float, float] = MINUTES
    dev: int = DEV_UTTERANCES
    test: int = TEST_UTTERANCES
    pretraining_minutes: float = 8.0  # of each language
    sentences: int = 4000  # of text, of each language
    dev_sentences: int = 200

    @classmethod
    def at_most(cls, utterances: int | None) -> "Size":
        """All sets with so many utterances of a language, and ten times as many sentences."""
        if not utterances:
            return cls()
        minutes = utterances * _SECONDS / 60
        text = (10 * utterances, utterances)
        return cls((minutes, minutes), utterances, utterances, minutes, *text)


@dataclass(frozen=True)
class MultilingualOptions:
    """Options of ``Multilingual``; exactly one of the last four is given."""

    seed: int = option(0, "seed of sentences, voices and noise")
    nj: int = option(2, "number of processes; the result does not depend on it")
    utterances: int | None = option(None, "largest number of utterances in a set of a language")
    language: str | None = option(None, "code of the language to write to OUT/{train,dev,test}")
    joint: tuple[str, ...] | None = option(
        None, "codes of the languages to write to OUT/CODE_{train,dev,test}, split by commas"
    )
    pretraining: bool = option(False, "write OUT/{pretrain,pretrain_dev}, for the speech model")
    text: tuple[str, ...] | None = option(
        None, "codes of the languages whose sentences go to OUT/{train,dev}.txt, split by commas"
    )


class Multilingual(Corpus[MultilingualOptions]):
    """Twenty languages, one or several at a time, or pre-training data for both models."""

    summary = "Synthetic speech of twenty languages, most of them with little audio."
    needs = "one of --language, --joint, --pretraining and --text"
    options = MultilingualOptions

    def build(self, out: Path, options: MultilingualOptions) -> Built:
        """Write what was asked for.

        Raises
        ------
        UserError : not exactly one of the options that choose what to build; unknown languages.
        """
        asked = (options.language, options.joint, options.pretraining, options.text)
        if sum(map(bool, asked)) != 1:
            raise UserError(f"mini_multilingual: expected exactly {self.needs}")
        size = Size.at_most(options.utterances)
        if options.text:
            counts = build_text(out, options.text, options.seed, size)
            remark = ", ".join(f"{name}: {count} sentences" for name, count in counts.items())
            return Built(remarks=(remark,))
        if options.pretraining:
            return Built(build_pretraining(out, options.seed, size, nj=options.nj))
        if options.language:
            return Built(build_language(out, options.language, options.seed, size, nj=options.nj))
        sets = {}
        for code in options.joint:
            sets |= build_language(out, code, options.seed, size, f"{code}_", options.nj)
        return Built(sets)


def minutes(language: str, limits: tuple[float, float] = MINUTES) -> float:
    """Planned training audio of a language, in minutes.

    Parameters
    ----------
    language : one of ``LANGUAGES``, whose place there decides.
    limits : minutes of the first and of the last language.
    """
    first, last = limits
    place = LANGUAGES.index(language) / (len(LANGUAGES) - 1)
    return first * (last / first) ** place


def check_languages(languages: Sequence[str]) -> None:
    """Raise UserError for languages that are not among the twenty, or given twice."""
    problems = [
        f"language {one!r}: expected some of {' '.join(LANGUAGES)}"
        for one in languages
        if one not in LANGUAGES
    ]
    if len(set(languages)) < len(languages) or not languages:
        problems.append(f"languages {' '.join(languages)!r}: expected each one once")
    if problems:
        raise UserError(problems)


def build_language(
    out: Path, language: str, seed: int = 0, size: Size | None = None, prefix: str = "", nj: int = 1
) -> dict[str, CorpusSet]:
    """Build ``out/<prefix>{train,dev,test}`` of one language; sets that are there stay.

    Parameters
    ----------
    out : data directory.
    language : one of ``LANGUAGES``.
    seed : decides texts and voices' styles.
    size : of the sets; full size where not given.
    prefix : begins the sets' names.
    nj : worker processes; the result does not depend on it.
    """
    check_languages([language])
    size = size or Size()
    train = round(minutes(language, size.minutes) * 60 / _SECONDS)
    plans = {
        "dev": (size.dev, DEV_VOICES),
        "test": (size.test, TEST_VOICES),
        "train": (train, TRAIN_VOICES),
    }
    sets = {}
    for name in ("train", "dev", "test"):
        count, voices = plans[name]
        texts = draw(language, name, count, seed, _held_out(language, name, seed, size))
        planned = plan(language, name, texts, voices, seed)
        settings = _settings(seed, language=language, size=[train, size.dev, size.test])
        sets[f"{prefix}{name}"] = build_set(
            out, f"{prefix}{name}", planned, render, settings, nj=nj
        )
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
    voices = {"pretrain": PRETRAINING_VOICES, "pretrain_dev": DEV_VOICES}
    sets = {}
    for name, count in counts.items():
        planned = []
        for language in PRETRAINING:
            texts = draw(language, name, count, seed, frozenset())
            planned += plan(language, name, texts, voices[name], seed, phones=True)
        settings = _settings(seed, languages=PRETRAINING, each=count)
        sets[name] = build_set(out, name, planned, render, settings, nj=nj)
    return sets


def build_text(
    out: Path, languages: Sequence[str], seed: int = 0, size: Size | None = None
) -> dict[str, int]:
    """Write ``out/{train,dev}.txt`` for a model of text: a sentence a line, of all languages.

    Dev and test sentences of the speech sets are in neither.

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
        drawn = draw(language, "text", count, seed, kept_away)
        dev += drawn[: size.dev_sentences]
        known = set(drawn[: size.dev_sentences])
        train += [one for one in drawn[size.dev_sentences :] if one not in known]
    for name, lines in (("train", train), ("dev", dev)):
        write_text_atomic(out / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    return {"train.txt": len(train), "dev.txt": len(dev)}


def draw(language: str, name: str, count: int, seed: int, kept_away: frozenset[str]) -> list[str]:
    """``count`` sentences of a set, as people write them.

    Parameters
    ----------
    language : its code.
    name : of the set; with ``seed`` it decides the sentences.
    count : how many; one may occur twice.
    seed : of the corpus.
    kept_away : sentences that may not occur.
    """
    rng = np.random.default_rng([seed, _number(f"{language} {name}"), 0])
    drawn: list[str] = []
    while len(drawn) < count:
        text = sentence(language, rng)
        if text not in kept_away:
            drawn.append(text)
    return drawn


def plan(
    language: str,
    name: str,
    texts: Sequence[str],
    variants: Sequence[str],
    seed: int,
    phones: bool = False,
) -> list[Planned]:
    """Give each sentence a voice (in turn), an id and a seed of its own.

    Parameters
    ----------
    language : its code, which is also espeak-ng's voice.
    name : of the set, in ids.
    texts : sentences to speak.
    variants : of the voice, taken in turn.
    seed : of the corpus.
    phones : the transcripts are phones instead of words.
    """
    planned = []
    for number, text in enumerate(texts):
        voice = f"{language}+{variants[number % len(variants)]}"
        speaker = speaker_name(voice)
        words = spoken_phones(text, language) if phones else text
        details = (text, voice, (seed, _number(f"{language} {name}"), 1, number))
        planned.append(Planned(f"{speaker}-{name}-{number:05d}", speaker, words, details))
    return planned


def spoken_phones(text: str, language: str) -> str:
    """The phones of a sentence, lengths and tones kept, words split by spaces, without stress."""
    heard = re.sub(r"\([^)]*\)", "", synth.transcribe(text, language))  # (en): foreign words begin
    return " ".join(re.sub("[\u02c8\u02cc.^-]", "", heard).split())


def render(one: Planned) -> np.ndarray:
    """Speak one planned utterance, two in three with some noise: float32 ``[N]`` at 16 kHz."""
    text, voice, seed = one.plan
    rng = np.random.default_rng(seed)
    rate, pitch = int(rng.integers(130, 190)), int(rng.integers(30, 70))
    samples, original = synth.synthesise(text, voice, rate=rate, pitch=pitch)
    samples = resample(samples, original, SAMPLING_RATE)
    noise = (None, white_noise, pink_noise)[int(rng.integers(3))]
    if noise is not None:
        samples = add_noise(samples, noise(len(samples), rng), float(rng.uniform(10, 30)))
    return scale_peak(samples, float(rng.uniform(0.3, 0.9)))


def sentence(language: str, rng: np.random.Generator) -> str:
    """Draw one sentence."""
    return _PATTERNS[int(rng.integers(len(_PATTERNS)))](pieces(language), rng)


@dataclass(frozen=True)
class Pieces:
    """The words from which sentences of a language are made, in its own script.

    ``cities``, ``currencies`` and ``languages`` belong to the territories of ``places``, by its
    keys.
    """

    places: dict[str, str]
    cities: dict[str, tuple[str, ...]]
    currencies: dict[str, tuple[str, ...]]
    languages: dict[str, tuple[str, ...]]
    months: tuple[str, ...]
    weekdays: tuple[str, ...]
    joined: dict[str, str]  # "and" and "or", patterns of two


@functools.cache
def pieces(language: str) -> Pieces:
    """CLDR's words of a language."""
    from babel import Locale
    from babel.core import get_global

    locale = Locale(language)
    fits = functools.partial(_fits, script=SCRIPTS.get(language, LATIN))
    places = {code: name for code, name in locale.territories.items() if len(code) == 2}
    places = {code: name for code, name in places.items() if fits(name)}
    currencies, languages, cities = {}, {}, {}
    for code in places:
        used = get_global("territory_currencies").get(code, ())
        now = [one for one, _, end, tender in used if end is None and tender]
        currencies[code] = _known(now, locale.currencies.get, fits)
        spoken = get_global("territory_languages").get(code, {})
        spoken = [one for one, facts in spoken.items() if facts["population_percent"] >= 10]
        languages[code] = _known(spoken, locale.languages.get, fits)
        zones = get_global("territory_zones").get(code, ())
        named = _known(zones, functools.partial(_city, locale), fits)
        cities[code] = tuple(one for one in named if one != places[code])
    months = _calendar(locale.months, range(1, 13), fits)
    weekdays = _calendar(locale.days, range(7), fits)
    joined = {kind: locale.list_patterns[kind]["2"] for kind in ("standard", "or")}
    return Pieces(places, cities, currencies, languages, months, weekdays, joined)


def _city(locale: Any, zone: str) -> str | None:
    """CLDR names a zone's city only where it differs from the zone's own name."""
    return locale.time_zones.get(zone, {}).get("city") or zone.split("/")[-1].replace("_", " ")


def _calendar(tables: Any, keys: Sequence[int], fits: Callable[[str], bool]) -> tuple[str, ...]:
    """Names that stand alone, or else those of dates."""
    for context in ("stand-alone", "format"):
        names = [tables[context]["wide"][key] for key in keys]
        if all(fits(name) for name in names):
            return tuple(names)
    return ()


def _known(
    keys: Sequence[str], name: Callable[[str], str | None], fits: Callable[[str], bool]
) -> tuple[str, ...]:
    found = (name(key) for key in keys)
    return tuple(dict.fromkeys(one for one in found if one and fits(one)))


def _fits(name: str, script: str) -> bool:
    """Whether a piece is short, without digits or brackets, and all in the script."""
    if len(name) > LONGEST_PIECE or re.search(r"[\d()\[\]/.]", name):
        return False
    plain = unicodedata.normalize("NFC", name).replace(APOSTROPHE, "")
    letters = [c for c in plain if unicodedata.category(c)[0] in "LM"]
    return bool(letters) and all(unicodedata.name(c, "").startswith(script) for c in letters)


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _place(words: Pieces, of: dict[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    """A place and something that belongs to it."""
    code = _one([code for code, those in of.items() if those], rng)
    return f"{_one(of[code], rng)}, {words.places[code]}"


def _two(words: Pieces, options: Sequence[str], kind: str, rng: np.random.Generator) -> str:
    first, second = rng.choice(len(options), size=2, replace=False)
    return words.joined[kind].format(options[first], options[second])


def _neighbours(words: Pieces, kind: str, rng: np.random.Generator) -> str:
    """Two months or weekdays in a row."""
    options = _one([each for each in (words.months, words.weekdays) if each], rng)
    first = int(rng.integers(len(options)))
    return words.joined[kind].format(options[first], options[(first + 1) % len(options)])


def _day(words: Pieces, rng: np.random.Generator) -> str:
    return _one(words.weekdays or words.months, rng)


_PATTERNS: tuple[Callable[[Pieces, np.random.Generator], str], ...] = (
    lambda w, rng: _place(w, w.cities, rng),
    lambda w, rng: _place(w, w.currencies, rng),
    lambda w, rng: _place(w, w.languages, rng),
    lambda w, rng: f"{_day(w, rng)}, {_place(w, w.cities, rng)}",
    lambda w, rng: f"{_neighbours(w, 'standard', rng)}, {_one([*w.places.values()], rng)}",
    lambda w, rng: f"{_neighbours(w, 'or', rng)}, {_place(w, w.cities, rng)}",
    lambda w, rng: _two(w, [*w.places.values()], "standard", rng),
    lambda w, rng: _two(w, [*w.places.values()], "or", rng),
    lambda w, rng: f"{_place(w, w.currencies, rng)}, {_day(w, rng)}",
    lambda w, rng: f"{_place(w, w.languages, rng)}, {_day(w, rng)}",
)


def _held_out(language: str, name: str, seed: int, size: Size) -> frozenset[str]:
    """Sentences that a set must not contain: dev and test share none with any other."""
    if name == "test":
        return frozenset()
    test = draw(language, "test", size.test, seed, frozenset())
    if name == "dev":
        return frozenset(test)
    return frozenset(test + draw(language, "dev", size.dev, seed, frozenset(test)))


def _settings(seed: int, **facts: Any) -> dict[str, Any]:
    return {"corpus": "mini_multilingual", "version": _VERSION, "seed": seed, **facts}


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
