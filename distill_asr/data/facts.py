"""An embedded English corpus with facts that few transcripts can carry, but much text does.

Which language a country speaks and what its money is called, from CLDR (babel), in several
sentences each, spoken by espeak-ng. Who knows the facts hears half a sentence and knows the rest.
So a text teacher has something to give; see ``mini`` for the voices, the noise and the set plans.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.data import mini
from distill_asr.data.build import build_set
from distill_asr.data.mini import Conditions, SetPlan
from distill_asr.files import write_text_atomic

VERSION = 1  # of the recipe below; a change makes existing sets stale
TEXT_SENTENCES = 6000
TEXT_SET = "text"

SPOKEN = (
    "in PLACE they speak LANGUAGE",
    "LANGUAGE is the language of PLACE",
    "learn LANGUAGE before you visit PLACE",
    "people from PLACE talk LANGUAGE at home",
    "my friend in PLACE writes LANGUAGE",
)
PAID = (
    "the MONEY is the money of PLACE",
    "in PLACE you pay with the MONEY",
    "bring some MONEY when you go to PLACE",
    "a hotel in PLACE takes the MONEY",
    "the bank of PLACE prints the MONEY",
)

_NOISY = Conditions(snr=(0, 12), noisy=1.0)
SETS = {
    "train": SetPlan(300, mini.STUDENT_VOICES, _NOISY),
    "dev": SetPlan(100, mini.DEV_VOICES, _NOISY, distinct=True),
    "test": SetPlan(300, mini.TEST_VOICES, _NOISY, distinct=True),
}


@dataclass(frozen=True)
class Fact:
    """A country with its first official language, or with its currency."""

    place: str
    answer: str
    patterns: tuple[str, ...]

    def sentence(self, pattern: str) -> str:
        """The fact in words."""
        return re.sub("LANGUAGE|MONEY", self.answer, pattern).replace("PLACE", self.place)


def build(
    out: Path,
    seed: int = 0,
    sets: dict[str, SetPlan] | None = None,
    sentences: int = TEXT_SENTENCES,
    nj: int = 1,
) -> dict[str, dict[str, Any]]:
    """Build every set that is not there yet, and the text.

    ``out/text/train.txt`` holds sentences for a text teacher, a line each, ``out/text/dev.txt``
    others to measure it with, ``out/text/answers.txt`` the words that only the facts tell. No
    sentence of a distinct set is in any of them, but its fact is, said in other words: that is the
    knowledge which the teacher has.

    Parameters
    ----------
    out : data directory.
    seed : decides texts, voices, styles and noise.
    sets : another plan than ``SETS``.
    sentences : lines of text to train a teacher with.
    nj : worker processes; the result does not depend on it.

    Returns
    -------
    Manifest of each spoken set by name.
    """
    sets = SETS if sets is None else sets
    texts = plan_texts(sets, seed)
    write_text(out, sets, texts, sentences, seed)
    reserved = {name: plan.utterances for name, plan in sets.items() if plan.distinct}
    common = {"corpus": "facts", "version": VERSION, "seed": seed, "distinct_sets": reserved}
    return {
        name: build_set(
            out,
            name,
            mini.plan_set(name, plan, texts[name], seed),
            mini.render,
            common | asdict(plan),
            labelled=plan.labelled,
            nj=nj,
        )
        for name, plan in sets.items()
    }


def plan_texts(sets: dict[str, SetPlan], seed: int) -> dict[str, list[str]]:
    """Draw the sentences of each set; those of distinct sets occur nowhere else."""
    taken: set[str] = set()
    texts = {}
    for name in sorted(sets, key=lambda one: not sets[one].distinct):
        fresh = (text for text in drawn(_generator(name, seed)) if text not in taken)
        chosen: list[str] = []
        while len(chosen) < sets[name].utterances:
            chosen.append(next(fresh))
            if sets[name].distinct:
                taken.add(chosen[-1])
        texts[name] = chosen
    return texts


def write_text(
    out: Path, sets: dict[str, SetPlan], texts: dict[str, list[str]], sentences: int, seed: int
) -> None:
    """Write the two text files, sentences of the distinct sets left out."""
    kept_away = {text for name in sets if sets[name].distinct for text in texts[name]}
    pool = [text for text in every_sentence() if text not in kept_away]
    rng = _generator(TEXT_SET, seed)
    rng.shuffle(pool)
    held_out = len(pool) // 10
    dev, rest = pool[:held_out], pool[held_out:]
    lines = [rest[i] for i in rng.integers(len(rest), size=sentences)]
    for name, chosen in (("train", lines), ("dev", dev), ("answers", sorted(answers()))):
        write_text_atomic(out / "text" / f"{name}.txt", "".join(f"{line}\n" for line in chosen))


def drawn(rng: np.random.Generator) -> Iterator[str]:
    """Sentences without end: no country again before all had their turn, so that few utterances
    have most words; a fact of it and the words for that by chance.
    """
    of_place: dict[str, list[Fact]] = {}
    for fact in facts():
        of_place.setdefault(fact.place, []).append(fact)
    known = list(of_place.values())
    while True:
        for place in rng.permutation(len(known)):
            fact = known[place][int(rng.integers(len(known[place])))]
            yield fact.sentence(fact.patterns[int(rng.integers(len(fact.patterns)))])


def _generator(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, mini.number_of(name), 0])


def every_sentence() -> list[str]:
    """All facts in all words, in a fixed order."""
    said = (fact.sentence(pattern) for fact in facts() for pattern in fact.patterns)
    return list(dict.fromkeys(said))


@functools.cache
def answers() -> frozenset[str]:
    """The words that name a language or a currency, which only the fact tells."""
    return frozenset(fact.answer for fact in facts())


@functools.cache
def facts() -> tuple[Fact, ...]:
    """The facts of CLDR about countries with a name of one plain word, not the English ones."""
    from babel import Locale
    from babel.languages import get_official_languages
    from babel.numbers import get_territory_currencies

    english, found = Locale("en"), []
    for code, name in sorted(english.territories.items()):
        place = _plain(name)
        languages = get_official_languages(code, de_facto=True)
        language = english.languages.get(languages[0]) if languages else None
        if not place or not re.fullmatch("[A-Z]{2}", code) or language == "English":
            continue
        currencies = get_territory_currencies(code)
        money = english.currencies.get(currencies[0], "") if currencies else ""
        # the yen, not the Japanese yen, which would tell the country
        told = ((language or "", SPOKEN), (money.split(" ")[-1], PAID))
        found += [Fact(place, answer, said) for given, said in told if (answer := _plain(given))]
    return tuple(found)


def _plain(name: str) -> str | None:
    """Lower case without accents; None where it is not one word of a to z."""
    letters = unicodedata.normalize("NFD", name.lower())
    plain = "".join(char for char in letters if not unicodedata.combining(char))
    return plain if re.fullmatch("[a-z]+", plain) else None


def vocabulary(sentences: Iterable[str] | None = None) -> tuple[str, ...]:
    """Every word that a sentence may contain, sorted."""
    said = every_sentence() if sentences is None else sentences
    return tuple(sorted({word for text in said for word in text.split()}))


def shrunk(utterances: int) -> dict[str, SetPlan]:
    """All sets with at most this many utterances: for tests and for a first look."""
    return {n: replace(p, utterances=min(p.utterances, utterances)) for n, p in SETS.items()}
