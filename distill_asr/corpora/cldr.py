"""Sentences of CLDR's words in many languages.

They are made of what CLDR has in a language's own script and wording alone: territories, cities,
languages, currencies, months, weekdays, and the words for "and" and "or". Words that stand together
belong together, so that a text model can predict them: in ``sentence`` a city and its country, a
country and its currency; in ``topical`` names of one region of the world.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from distill_asr.data.normalise import unicode_words

T = TypeVar("T")

APOSTROPHE = "\u02bc"  # a letter of no script, for Unicode

LONGEST_PIECE = 28  # characters


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

    fits = functools.partial(_fits, script=script(language))
    locale = Locale(language)
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


@functools.cache
def script(language: str) -> str:
    """The script of most letters of its months, as names of Unicode characters begin: ``THAI``.

    Raises
    ------
    ValueError : CLDR does not know the language, or has no months of it.
    """
    from babel import Locale, UnknownLocaleError

    try:
        months = Locale(language).months["format"]["wide"].values()
    except UnknownLocaleError as error:
        raise ValueError(f"CLDR has no language {language!r}") from error
    letters = (c for name in months for c in name if unicodedata.category(c)[0] == "L")
    counts = Counter(unicodedata.name(c).split()[0] for c in letters)
    if not counts:
        raise ValueError(f"CLDR has no months in {language!r}")
    return counts.most_common(1)[0][0]


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


def _one(options: Sequence[T], rng: np.random.Generator) -> T:
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


# territories of the world's parts, after the United Nations' M49
REGIONS = {
    "northern and western Africa": (
        "BF BJ CI CV DZ EG EH GH GM GN GW LR LY MA ML MR NE NG SD SL SN TG TN"
    ),
    "eastern and southern Africa": (
        "AO BI BW CD CF CG CM DJ ER ET GA KE LS MG MW MZ NA RW SO TD TZ UG ZM ZW"
    ),
    "northern and central America": (
        "AG BB BS BZ CA CR CU DM DO GD GL GT HN HT JM LC MX NI PA PR SV TT US"
    ),
    "South America": "AR BO BR CL CO EC GF GY PE PY SR UY VE",
    "eastern and south-eastern Asia": "BN CN ID JP KH KR LA MM MN MY PH SG TH TW VN",
    "southern and western Asia": (
        "AE AF AM AZ BD BH BT GE IL IN IQ IR JO KW LB LK MV NP OM PK QA SA SY TR YE"
    ),
    "northern and western Europe": "AT BE CH DE DK EE FI FR GB IE IS LT LU LV NL NO SE",
    "southern and eastern Europe": "AL BG BY CZ ES GR HR HU IT MD ME MT PL PT RO RS RU SI SK UA",
}
REGION_WORDS = 8  # names of a region, at most
SHORTEST_NAME = 4  # letters and their marks; so that a word can lose its beginning


@dataclass(frozen=True)
class Topical:
    """A sentence and its names of one region: the first character of each and the one after."""

    text: str
    names: tuple[tuple[int, int], ...]


@functools.cache
def regions(language: str) -> tuple[tuple[str, ...], ...]:
    """Names of each region: territories, their cities and languages of one word each.

    A name of two regions is left out of both.
    """
    words = pieces(language)
    found = [tuple(dict.fromkeys(_names(words, codes.split()))) for codes in REGIONS.values()]
    often = Counter(_key(name, language) for each in found for name in each)
    single = functools.partial(_single, language)
    alone = [[n for n in each if single(n) and often[_key(n, language)] == 1] for each in found]
    return tuple(tuple(each[:REGION_WORDS]) for each in alone)


def topical(language: str, rng: np.random.Generator) -> Topical:
    """Three or four names of one region, in two of three sentences with a month or a weekday."""
    words = pieces(language)
    options = regions(language)[int(rng.integers(len(REGIONS)))]
    names = rng.choice(len(options), size=min(int(rng.integers(3, 5)), len(options)), replace=False)
    joined = words.joined[("standard", "or")[int(rng.integers(2))]].replace("\u00a0", " ")
    link = joined.replace("{0}", "").replace("{1}", "").strip()
    parts = [options[i] for i in names]
    # text models split a word at an apostrophe
    days = [day for day in (*words.months, *words.weekdays) if "'" not in _key(day, language)]
    place = int(rng.integers(3)) if days else 2
    before = f"{_one(days, rng)}, " if place == 0 else ""
    after = f", {_one(days, rng)}" if place == 1 else ""
    between = [", "] * (len(parts) - 2) + [f" {link} "]
    text, spans = before, []
    for part, separator in zip(parts, [*between, after], strict=True):
        spans.append((len(text), len(text) + len(part)))
        text += part + separator
    return Topical(text, tuple(spans))


def _names(words: Pieces, codes: Sequence[str]) -> Iterator[str]:
    """Territories first, then cities, then languages."""
    yield from (words.places[code] for code in codes if code in words.places)
    for table in (words.cities, words.languages):
        yield from (name for code in codes for name in table.get(code, ()))


def _key(name: str, language: str) -> str:
    return unicode_words(name, language=language)


def _single(language: str, name: str) -> bool:
    """Whether it is one word of letters, and long enough to lose its beginning."""
    known = _key(name, language)
    plain = len(known) == len(name) and all(unicodedata.category(c)[0] in "LM" for c in known)
    return plain and len(known) >= SHORTEST_NAME
