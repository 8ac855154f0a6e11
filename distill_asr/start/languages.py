"""Scripts and languages of transcripts: a guess, with how sure it is."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MIXED = 0.1  # of the utterances with a guess: the least share of one language among several
_FEW = 20  # utterances with a guess; fewer decide nothing about a mixture
_FEWEST = 5  # utterances; a language guessed for fewer is taken for an accident
_LOOKED_AT = 20000  # utterances

# frequent words; those that languages share stand with each of them, so that they decide nothing
WORDS = {
    "en": (
        "the and of to in a is that it was for you on with he as i be at this have are not we what"
    ),
    "de": (
        "der die und in zu den das nicht von sie ist des sich mit dem dass er es ein ich auf "
        "so eine auch als an nach wie im für man aus wir was"
    ),
    "fr": (
        "le la les de et des est un une du en à dans pour qui que pas vous avec sur ce il je "
        "au ne se on par plus sont elle"
    ),
    "es": (
        "el la los las de y en que un una por con para del se no es está pero muy son lo al "
        "más su como a le me"
    ),
    "it": (
        "il la di che è e un in per non una sono del gli le i si con da questo anche più "
        "della a ma al lo ho come"
    ),
    "pt": (
        "o a de que e do da em um para é com não uma os no se na por mais as dos como mas foi "
        "ao ele das isso você"
    ),
    "nl": (
        "de het een en van ik is dat in te niet zijn op met voor naar die er maar om hij ze "
        "wij aan ook als deze was"
    ),
    "pl": "się nie jest że w na i z do to jak czy dla po tylko już przez od za co ale o ma jego są",
    "cs": "že je jsem není jsou ale jako když být který a se na v to s z do o i ve co si by za jak",
    "sk": "že je som nie sú ale ako keď byť ktorý a sa na v to s z do o i vo čo si by za",
    "sl": "je in na da se v ne za so pa z ki bi po s sem to od kot tudi ni",
    "ro": "și este nu că pe din cu sunt mai pentru de a la o în un se care ce le fi au al ale unei",
    "sv": "och att är som inte jag på för den med det en i av ett till har de om han var kan så",
    "da": (
        "og det er ikke jeg af til har vi hvad at en den i som på med for de et der var kan så du"
    ),
    "nb": "og det er ikke jeg av til har vi hva at en den i som på med for de et var kan så du han",
    "fi": "ja on ei että se hän mutta niin ovat kun oli mitä minä sinä tämä myös kuin ole",
    "et": "ja on ei et see ta aga kui ka mis ma oli nii seda siis oma",
    "lt": "ir yra ne kad tai jis bet kaip su į iš ar aš buvo o per nuo dar jau",
    "tr": "ve bir bu için ne çok değil gibi daha var da de ben o ile ama mi en kadar",
    "hu": "a az és hogy nem egy is van meg ez de ha csak már mint ki el volt még akkor",
    "ca": (
        "els amb és dels aquest molt però això les què el la de i en un una per que no del es "
        "al a més com ha són"
    ),
    "id": "yang dan itu dengan untuk tidak ini dari ada akan di ke pada dia saya kita juga adalah",
    "vi": "và của là không có được một cho những người tôi các trong anh với này",
    "ru": "и в не на что он как это я но с по из к у за от она мы так же вы бы то для о а",
    "uk": "і та що це як є у він але від в не на з до за про я ми ти й для які так",
    "be": "гэта ў што і як ён але яго быў толькі на з не у да за па я мы вы для",
    "bg": "на да се за е от си ще са това и в не с по как аз но той като ли до че",
    "sr": "је и у да се на не за су од са као али то што ја он ће би",
}
BY_SCRIPT = {  # scripts of one language, or of one that is the likeliest by far
    "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja", "HAN": "zh", "THAI": "th", "GREEK": "el",
    "HEBREW": "he", "GEORGIAN": "ka", "ARMENIAN": "hy", "TAMIL": "ta", "TELUGU": "te",
    "BENGALI": "bn", "DEVANAGARI": "hi", "MALAYALAM": "ml", "KANNADA": "kn", "GUJARATI": "gu",
    "ARABIC": "ar", "KHMER": "km", "LAO": "lo", "MYANMAR": "my", "SINHALA": "si", "ETHIOPIC": "am",
}  # fmt: skip
UNSPACED = frozenset("HAN HIRAGANA KATAKANA THAI LAO KHMER MYANMAR".split())
LARGE = frozenset("HAN HIRAGANA KATAKANA HANGUL".split())  # of many characters
_WORD_SETS = {code: frozenset(words.split()) for code, words in WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Languages:
    """What was found.

    Parameters
    ----------
    counts : utterances by language, only those with a guess; the most frequent first.
    scripts : utterances by script.
    told : the source names the languages; else they are guessed.
    characters : different characters, blanks left out.
    """

    counts: dict[str, int]
    scripts: dict[str, int]
    told: bool
    characters: int

    @property
    def language(self) -> str | None:
        """The most frequent one; None where the evidence is too small."""
        if not self.counts:
            return None
        (best, most), *others = self.counts.items()
        second = others[0][1] if others else 0
        return best if self.told or (most >= _FEWEST and most >= 2 * second) else None

    @property
    def script(self) -> str:
        """The most frequent one."""
        return next(iter(self.scripts), "LATIN")

    def mixed(self) -> dict[str, int]:
        """Languages, or else scripts, of which there are several; empty for one."""
        for counts in (self.counts, self.scripts):
            total = sum(counts.values())
            least = MIXED * total if self.told else max(MIXED * total, _FEWEST + 1)
            large = {name: n for name, n in counts.items() if n >= least}
            enough = self.told or total >= _FEW
            if len(large) > 1 and enough:
                return large
        return {}


def find_languages(rows: Iterable[tuple[str, str | None]]) -> Languages:
    """Languages of transcripts, each with the language that its source gives, or None."""
    rows = list(rows)
    told = Counter(language for _, language in rows if language)
    scripts: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    for text, _ in rows[:: max(1, len(rows) // _LOOKED_AT)]:
        script = main_script(text)
        if script is None:
            continue
        scripts[_group(script)] += 1
        if (code := guess_language(text, script)) is not None:
            guessed[code] += 1
    counts = told or guessed
    characters = {c for text, _ in rows for c in text if not c.isspace()}
    return Languages(
        dict(counts.most_common()), dict(scripts.most_common()), bool(told), len(characters)
    )


def main_script(text: str) -> str | None:
    """The script of most letters, by its name in Unicode; kana stands for Japanese."""
    counts = Counter(script for c in text if c.isalpha() and (script := _script(c)))
    if counts["HIRAGANA"] + counts["KATAKANA"] and counts["HAN"]:
        return "HIRAGANA"
    return counts.most_common(1)[0][0] if counts else None


def guess_language(text: str, script: str) -> str | None:
    """The language of one transcript, by script or by its frequent words; None where unclear.

    Parameters
    ----------
    text : the transcript.
    script : as of ``main_script``.
    """
    if script in BY_SCRIPT:
        return BY_SCRIPT[script]
    words = _WORD.findall(text.lower())
    scores = Counter({code: sum(w in known for w in words) for code, known in _WORD_SETS.items()})
    (best, most), (_, second) = scores.most_common(2)
    return best if most > second else None


def describe(counts: Mapping[str, int]) -> str:
    """``de 120, fr 30``."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _group(script: str) -> str:
    return "HIRAGANA" if script == "KATAKANA" else script


@functools.cache
def _script(character: str) -> str | None:
    name = unicodedata.name(character, "")
    if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY")):
        return "HAN"
    word = name.partition(" ")[0]
    return None if word in ("", "MODIFIER", "FEMININE", "MASCULINE", "MICRO") else word
