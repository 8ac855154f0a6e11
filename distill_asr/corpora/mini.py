"""The embedded English corpus: dates, times, numbers and commands, spoken by espeak-ng.

A closed vocabulary, many voices, noise, a little labelled and much unlabelled audio, test voices
that occur nowhere else, and a larger labelled set for training the recipe's own teachers.
"""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.contract import Built, Corpus, option
from distill_asr.corpora.generated import SAMPLING_RATE, Planned, build_set, speaker_name
from distill_asr.data.noise import add_noise, babble, pink_noise, scale_peak, white_noise
from distill_asr.io.audio import resample

_VERSION = 1  # of the recipe below; a change makes existing sets stale

DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen".split()
TENS = "twenty thirty forty fifty".split()
COMMANDS = (
    "turn on the light",
    "turn off the light",
    "turn on the radio",
    "turn off the radio",
    "open the window",
    "close the window",
    "open the door",
    "close the door",
    "play the music",
    "stop the music",
    "call the doctor",
    "wake me",
    "meet me",
    "start the timer",
)

STUDENT_VOICES = tuple(
    "en-us+m1 en-us+f2 en-us+m3 en+f1 en+m2 en+f3 en-gb-x-rp+m4 en-gb-x-rp+f1 "
    "en-gb-scotland+m1 en-gb-scotland+f2".split()
)
DEV_VOICES = ("en-us+m1", "en+f3", "en-us+f1", "en-gb-x-rp+m3")
TEST_VOICES = tuple(
    "en-us+f4 en-us+Andy en+m7 en+belinda en-gb-scotland+f5 en-gb-x-rp+steph2 en-us-nyc+m8 "
    "en-gb-x-gbclan+linda".split()
)
TEACHER_VOICES = tuple(
    "en-us+m2 en-us+m4 en-us+m6 en-us+f3 en-us+adam en-us+Annie en-us+Mike en-us+grandma "
    "en+m1 en+m3 en+m5 en+f2 en+paul en+steph en+edward en+Alicia "
    "en-gb-x-rp+m1 en-gb-x-rp+m6 en-gb-x-rp+f2 en-gb-x-rp+david en-gb-x-rp+shelby "
    "en-gb-scotland+m3 en-gb-scotland+m5 en-gb-scotland+f3 en-gb-scotland+grandpa "
    "en-us-nyc+m1 en-us-nyc+f1 en-us-nyc+klatt4 en-029+m4 en-029+f2 en-029+boris "
    "en-gb-x-gbclan+m2 en-gb-x-gbclan+f1 en-gb-x-gbclan+zac "
    "en-gb-x-gbcwmd+m6 en-gb-x-gbcwmd+f3".split()
)
TEACHER_DEV_VOICES = ("en-us+benjamin", "en+klatt3", "en-gb-x-rp+aunty", "en-us-nyc+f2")


@dataclass(frozen=True)
class Conditions:
    """Noise and speaking style of a set.

    ``snr`` in dB and ``noisy`` (the share of utterances with any noise) describe the noise,
    ``rate`` in words a minute and ``pitch`` (0 to 100) the speaking style; pairs are limits.
    """

    snr: tuple[float, float]
    noisy: float
    rate: tuple[int, int] = (130, 190)
    pitch: tuple[int, int] = (30, 70)
    kinds: tuple[str, ...] = ("white", "pink", "babble")


@dataclass(frozen=True)
class SetPlan:
    """One set of the corpus. ``distinct``: no sentence twice, and in no other set."""

    utterances: int
    voices: tuple[str, ...]
    conditions: Conditions
    labelled: bool = True
    distinct: bool = False


_STUDENT = Conditions(snr=(5, 25), noisy=0.8)
_TEACHER = Conditions(snr=(0, 30), noisy=0.85, rate=(115, 210), pitch=(15, 85))

SETS = {
    "train": SetPlan(120, STUDENT_VOICES, _STUDENT),
    "unlab": SetPlan(2000, STUDENT_VOICES, _STUDENT, labelled=False),
    "dev": SetPlan(100, DEV_VOICES, _STUDENT, distinct=True),
    "test_clean": SetPlan(250, TEST_VOICES, Conditions(snr=(25, 35), noisy=0.5), distinct=True),
    "test_noisy": SetPlan(250, TEST_VOICES, Conditions(snr=(5, 15), noisy=1.0), distinct=True),
    "teacher_train": SetPlan(4000, TEACHER_VOICES, _TEACHER),
    "teacher_dev": SetPlan(150, TEACHER_DEV_VOICES, _TEACHER, distinct=True),
}


@dataclass(frozen=True)
class MiniOptions:
    """Options of ``Mini`` and of ``Homophones``."""

    seed: int = option(0, "seed of texts, voices, styles and noise")
    nj: int = option(2, "number of processes; the result does not depend on it")
    utterances: int | None = option(None, "largest number of utterances in a set")


class Mini(Corpus[MiniOptions]):
    """The embedded English corpus."""

    summary = "Synthetic English: dates, times, numbers and commands in many voices and noise."
    needs = "nothing"
    options = MiniOptions

    def build(self, out: Path, options: MiniOptions) -> Built:
        """Write ``out/{train,unlab,dev,test_clean,test_noisy,teacher_train,teacher_dev}``."""
        sets = shrunk(options.utterances) if options.utterances else None
        built = build(out, options.seed, sets, nj=options.nj)
        return replace(built, remarks=(f"vocabulary: {len(vocabulary())} words",))


def build(
    out: Path,
    seed: int = 0,
    sets: dict[str, SetPlan] | None = None,
    nj: int = 1,
) -> Built:
    """Build every set that is not there yet.

    Parameters
    ----------
    out : data directory.
    seed : decides texts, voices, styles and noise.
    sets : another plan than ``SETS``.
    nj : worker processes; the result does not depend on it.
    """
    sets = SETS if sets is None else sets
    return build_sets(
        out, {"corpus": "mini", "version": _VERSION}, sets, plan_texts(sets, seed), seed, nj
    )


def build_sets(
    out: Path,
    corpus: dict[str, Any],
    sets: dict[str, SetPlan],
    texts: dict[str, list[str]],
    seed: int,
    nj: int = 1,
) -> Built:
    """Speak the ``texts`` of each set that is not there yet.

    Parameters
    ----------
    out : data directory.
    corpus : name and version for the manifests.
    sets : plans by name.
    texts : sentences of each set by name.
    seed : decides voices, styles and noise.
    nj : worker processes; the result does not depend on it.
    """
    # what every set had to keep away from
    reserved = {name: plan.utterances for name, plan in sets.items() if plan.distinct}
    common = corpus | {"seed": seed, "distinct_sets": reserved}
    return Built(
        {
            name: build_set(
                out,
                name,
                plan_set(name, plan, texts[name], seed),
                render,
                common | asdict(plan),
                labelled=plan.labelled,
                nj=nj,
            )
            for name, plan in sets.items()
        }
    )


def sentences(rng: np.random.Generator) -> Iterator[str]:
    """An endless series of sentences."""
    while True:
        yield sentence(rng)


def plan_texts(
    sets: dict[str, SetPlan],
    seed: int,
    drawn: Callable[[np.random.Generator], Iterator[str]] = sentences,
    repeats: bool = True,
) -> dict[str, list[str]]:
    """Draw the sentences of each set; those of distinct sets occur nowhere else.

    Parameters
    ----------
    sets : plans by name.
    seed : of the corpus.
    drawn : endless sentences from a generator of random numbers.
    repeats : False: no sentence occurs twice in the other sets either.
    """
    taken: set[str] = set()
    texts = {}
    for name in sorted(sets, key=lambda one: not sets[one].distinct):
        chosen: list[str] = []
        source = drawn(generator(name, seed))
        while len(chosen) < sets[name].utterances:
            if (text := next(source)) in taken:
                continue
            chosen.append(text)
            if sets[name].distinct or not repeats:
                taken.add(text)
        texts[name] = chosen
    return texts


def generator(name: str, seed: int) -> np.random.Generator:
    """The random numbers with which the sentences of a set are drawn.

    Parameters
    ----------
    name : of the set.
    seed : of the corpus.
    """
    return np.random.default_rng([seed, number_of(name), 0])


def plan_set(name: str, plan: SetPlan, texts: Iterable[str], seed: int) -> list[Planned]:
    """Give each sentence a voice (in turn), an id and a seed of its own.

    Parameters
    ----------
    name : of the set, in ids.
    plan : its voices and conditions.
    texts : its sentences.
    seed : of the corpus.
    """
    planned = []
    for number, text in enumerate(texts):
        voice = plan.voices[number % len(plan.voices)]
        speaker = speaker_name(voice)
        details = (voice, plan.voices, plan.conditions, (seed, number_of(name), 1, number))
        planned.append(Planned(f"{speaker}-{name}-{number:05d}", speaker, text, details))
    return planned


def render(one: Planned) -> np.ndarray:
    """Speak one planned utterance and put it into its noise: float32 ``[N]`` at 16 kHz."""
    voice, voices, conditions, seed = one.plan
    rng = np.random.default_rng(seed)
    samples = _speak(one.text, voice, conditions, rng)
    kind = conditions.kinds[int(rng.integers(len(conditions.kinds)))]
    snr = float(rng.uniform(*conditions.snr))
    if rng.random() < conditions.noisy:
        samples = add_noise(samples, _noise(kind, len(samples), voices, seed, rng), snr)
    return scale_peak(samples, float(rng.uniform(0.3, 0.9)))


def sentence(rng: np.random.Generator) -> str:
    """Draw one sentence of 3 to 8 words."""
    patterns, weights = zip(*_PATTERNS, strict=True)
    total = sum(weights)
    while True:
        pattern = patterns[int(rng.choice(len(patterns), p=[w / total for w in weights]))]
        text = " ".join(_expand(part, rng) for part in pattern.split())
        if 3 <= len(text.split()) <= 8:
            return text


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Every word that a sentence may contain, sorted."""
    words = {part for pattern, _ in _PATTERNS for part in pattern.split() if part.islower()}
    words.update(DIGITS, TEENS, TENS, " ".join(COMMANDS).split(), ["oh"])
    words.update(*(phrase.split() for phrases in _calendar().values() for phrase in phrases))
    return tuple(sorted(words))


# Capitals are drawn anew, the rest is spoken as it is.
_PATTERNS = (
    ("COMMAND at TIME", 3),
    ("COMMAND on WEEKDAY", 2),
    ("COMMAND in MINUTES minutes", 2),
    ("COMMAND PERIOD", 2),
    ("COMMAND at HOUR PERIOD", 2),
    ("COMMAND on MONTH DAY", 2),
    ("set the alarm for TIME", 1),
    ("WEEKDAY MONTH DAY", 3),
    ("WEEKDAY MONTH DAY at TIME", 3),
    ("MONTH DAY at TIME PERIOD", 2),
    ("WEEKDAY at TIME PERIOD", 2),
    ("call DIGIT DIGIT DIGIT DIGIT DIGIT DIGIT", 3),
    ("DIGIT DIGIT DIGIT DIGIT DIGIT", 2),
)


@functools.cache
def _calendar() -> dict[str, tuple[str, ...]]:
    from babel import Locale

    english = Locale("en")
    periods = english.day_periods["format"]["wide"]
    return {
        "WEEKDAY": tuple(english.days["format"]["wide"][day].lower() for day in range(7)),
        "MONTH": tuple(english.months["format"]["wide"][m].lower() for m in range(1, 13)),
        "PERIOD": tuple(
            periods[key].lower() for key in ("morning1", "afternoon1", "evening1", "night1")
        ),
    }


def _expand(part: str, rng: np.random.Generator) -> str:
    return _NUMBERS[part](rng) if part in _NUMBERS else _phrase(part, rng)


def _phrase(part: str, rng: np.random.Generator) -> str:
    phrases = COMMANDS if part == "COMMAND" else _calendar().get(part, (part,))
    return phrases[int(rng.integers(len(phrases)))]


def _spoken(number: int) -> str:
    """0 to 15 and 20 to 59 in words."""
    small = DIGITS + TEENS
    if number < len(small):
        return small[number]
    tens, digit = divmod(number, 10)
    return TENS[tens - 2] + (f" {DIGITS[digit]}" if digit else "")


def _between(low: int, high: int, rng: np.random.Generator) -> str:
    numbers = [n for n in range(low, high + 1) if not 16 <= n <= 19]
    return _spoken(numbers[int(rng.integers(len(numbers)))])


def _time(rng: np.random.Generator) -> str:
    hour = _between(1, 12, rng)
    minutes = _between(10, 59, rng) if rng.random() < 0.8 else f"oh {_between(1, 9, rng)}"
    return f"{hour} {minutes}"


_NUMBERS: dict[str, Callable[[np.random.Generator], str]] = {
    "TIME": _time,
    "HOUR": lambda rng: _between(1, 12, rng),
    "DAY": lambda rng: _between(1, 31, rng),
    "MINUTES": lambda rng: _between(2, 59, rng),
    "DIGIT": lambda rng: _between(0, 9, rng),
}


def _speak(text: str, voice: str, conditions: Conditions, rng: np.random.Generator) -> np.ndarray:
    rate = int(rng.integers(*conditions.rate, endpoint=True))
    pitch = int(rng.integers(*conditions.pitch, endpoint=True))
    samples, original = synth.synthesise(text, voice, rate=rate, pitch=pitch)
    return resample(samples, original, SAMPLING_RATE)


def _noise(
    kind: str,
    samples: int,
    voices: tuple[str, ...],
    seed: tuple[int, ...],
    rng: np.random.Generator,
) -> np.ndarray:
    if kind == "babble":
        return babble(_talkers(voices, seed[:2]), samples, rng)
    return {"white": white_noise, "pink": pink_noise}[kind](samples, rng)


@functools.lru_cache(maxsize=2)
def _talkers(voices: tuple[str, ...], seed: tuple[int, int]) -> list[np.ndarray]:
    """Recordings for the babble of one set, by its own voices, so that none occurs elsewhere."""
    rng = np.random.default_rng([*seed, 2])
    plain = Conditions(snr=(0, 0), noisy=0.0)
    return [_speak(sentence(rng), voices[i % len(voices)], plain, rng) for i in range(24)]


def number_of(name: str) -> int:
    """Seed of a set by its name."""
    return zlib.crc32(name.encode())


def shrunk(utterances: int, sets: dict[str, SetPlan] = SETS) -> dict[str, SetPlan]:
    """All sets with at most this many utterances: for tests and for a first look."""
    return {n: replace(p, utterances=min(p.utterances, utterances)) for n, p in sets.items()}
