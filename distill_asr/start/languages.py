"""Which scripts and languages transcripts are in; a guess that says how sure it is."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MIXED = 0.1  # of the utterances that tell; from this share on a language counts as one of several
FEW = 20  # utterances that tell; fewer decide nothing about a mixture
LOOKED_AT = 20000  # utterances

# frequent words that the others of the same script do not share
WORDS = {
    "en": "the and of to that it was you with for this have are not what",
    "de": "der die und das nicht ist ein ich zu den mit sich auch auf wir",
    "fr": "le les et des est une dans pour qui pas vous avec sur ce il",
    "es": "el los las y una por con para del está pero muy son lo",
    "it": "il che di è per non sono della gli questo anche più una",
    "pt": "não uma você dos ao em mais isso é os muito ele foi",
    "nl": "het een van ik niet dat zijn voor met op deze naar",
    "pl": "się nie jest że jak czy dla tylko już przez",
    "cs": "že je jsem není jsou ale jako když být který",
    "ro": "și este nu că pe din cu sunt mai pentru",
    "sv": "och att är som inte jag på för den med",
    "da": "og det er ikke jeg af til har vi hvad",
    "fi": "ja on ei että se hän mutta niin ovat kun",
    "tr": "ve bir bu için ne çok değil gibi daha var",
    "hu": "az és hogy nem egy is van meg de ez",
    "ca": "els amb és dels aquest molt però això les què",
    "id": "yang dan itu dengan untuk tidak ini dari ada akan",
    "vi": "và của là không có được một cho những người",
    "ru": "и в не на что он как это я но",
    "uk": "і та що це як є у він але від",
    "be": "гэта ў што і як ён але яго быў толькі",
    "bg": "на да се за е от си ще са това",
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
    counts : utterances by language, those alone that tell; the most frequent first.
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
        """The most frequent one; None where nothing tells."""
        return next(iter(self.counts), None)

    @property
    def script(self) -> str:
        """The most frequent one."""
        return next(iter(self.scripts), "LATIN")

    def mixed(self) -> dict[str, int]:
        """Languages, or else scripts, of which there are several; empty for one."""
        for counts in (self.counts, self.scripts):
            total = sum(counts.values())
            large = {name: n for name, n in counts.items() if n >= MIXED * total}
            enough = self.told or total >= FEW
            if len(large) > 1 and enough:
                return large
        return {}


def find_languages(rows: Iterable[tuple[str, str | None]]) -> Languages:
    """Languages of transcripts, each with the language that its source says, or None."""
    rows = list(rows)
    told = Counter(language for _, language in rows if language)
    scripts: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    for text, _ in rows[:: max(1, len(rows) // LOOKED_AT)]:
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
    """The language of one transcript, by script or by its frequent words; None where unclear."""
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
