"""Transcripts as students are trained on them: one spelling of each character, no punctuation.

What a text teacher reads is another matter; its input is sentences as people write them.
"""

import itertools
import re
import unicodedata
from dataclasses import asdict, dataclass

from distill_asr.io.tables import is_invisible

NORMALISERS = ("unicode", "letters_only")
FORMS = ("NFC", "NFKC")
# what people type for an apostrophe: quotes of either side, a modifier letter, full width, accents
APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ＇`´", "'"))
_JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner: spelling in Persian, Hindi, ...
_DOTTED_I = str.maketrans({"I": "ı", "İ": "i"})
_DOTTED_I_LANGUAGES = ("tr", "az")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")
_TAG = re.compile(rf"<{_LANGUAGE.pattern}>")


def unicode_words(text: str, form: str = "NFC", language: str | None = None) -> str:
    """Lower-case words of any script with their combining marks; one space between them.

    Letters, numbers and the marks on them stay. Punctuation, symbols and spaces of all kinds
    separate words. An apostrophe between letters stays, written as ``'``; so do the joiners that
    belong to a spelling, and the dot of Catalan ``l·l``. Doing it twice changes nothing more.

    Parameters
    ----------
    text : as people write it.
    form : ``NFC`` or ``NFKC``, which also folds full width, ligatures and the like; it changes the
        spelling of some scripts, such as the vowel am of Thai.
    language : its code; ``tr`` and ``az`` lower I to the dotless ı.
    """
    text = unicodedata.normalize(form, text.translate(APOSTROPHES))
    if (language or "").split("-")[0] in _DOTTED_I_LANGUAGES:
        text = text.translate(_DOTTED_I)
    # lowering may decompose
    text = unicodedata.normalize(form, text.lower()).translate(APOSTROPHES)
    characters = [c for c in text if not _invisible(c)]
    words = " "
    for c, after in itertools.pairwise([*characters, " "]):
        words += _kept(c, words[-1], after)
    return unicodedata.normalize(form, " ".join(words.split()))


def letters_only(text: str) -> str:
    """The published form (arXiv 2206.12638): NFKC, letters and spaces alone, lower case.

    Combining marks are lost, and with them most vowels of Hindi, Tamil and Thai; so are digits,
    apostrophes and hyphens. Here runs of spaces become one.
    """
    letters = "".join(
        c for c in unicodedata.normalize("NFKC", text) if c == " " or _category(c) == "L"
    )
    return " ".join(letters.lower().split())


def plain_blanks(text: str) -> str:
    """The words of a transcript with one plain space between them.

    Blanks of every kind separate words, the zero-width space among them; characters that nobody
    sees are dropped, joiners apart.
    """
    if text.isprintable():  # nothing invisible, the plain space its only blank
        return " ".join(text.split())
    text = text.replace("\u200b", " ")
    return " ".join("".join(c for c in text if not is_invisible(c)).split())


@dataclass(frozen=True)
class TranscriptRule:
    """What happens to the transcripts of one data directory.

    Parameters
    ----------
    normalise : one of ``NORMALISERS``; None leaves the words alone.
    form : Unicode form of ``unicode``.
    language : code of the set's language.
    tag : put the language's tag in front, see ``language_tag``.
    """

    normalise: str | None = None
    form: str = "NFC"
    language: str | None = None
    tag: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.normalise is not None and self.normalise not in NORMALISERS:
            problems.append(f"normalise {self.normalise!r}: expected {' or '.join(NORMALISERS)}")
        if self.form not in FORMS:
            problems.append(f"form {self.form!r}: expected {' or '.join(FORMS)}")
        if self.language is not None and _LANGUAGE.fullmatch(self.language) is None:
            problems.append(f"language {self.language!r}: expected a code such as hi, or sr-Latn")
        if self.tag and self.language is None:
            problems.append("a tag needs the language")
        if problems:
            raise ValueError("; ".join(problems))

    def __call__(self, text: str) -> str:
        """The transcript; empty where no words are left."""
        if self.normalise == "unicode":
            text = unicode_words(text, self.form, self.language)
        elif self.normalise == "letters_only":
            text = letters_only(text)
        return f"{language_tag(self.language)} {text}" if self.tag and text else text

    def settings(self) -> dict[str, object]:
        """For the record of a prepared directory."""
        return asdict(self)


def language_tag(code: str) -> str:
    """The token that marks the language: ``<hi>``."""
    return f"<{code}>"


def is_language_tag(word: str) -> bool:
    """Whether a word has the form of a language tag.

    ``<um>`` has it, too: ask only where ``has_language_tags``.
    """
    return _TAG.fullmatch(word) is not None


def _category(character: str) -> str:
    return unicodedata.category(character)[0]


def _invisible(character: str) -> bool:
    """What leaves no trace: format characters, variation selectors, enclosing circles."""
    category = unicodedata.category(character)
    if category == "Cf":
        return character not in _JOINERS
    selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return selector or category == "Me"


def _kept(character: str, before: str, after: str) -> str:
    """The character, nothing, or a space; ``before`` is what was kept last."""
    category = _category(character)
    if category in "LN":
        return character
    in_word = _category(before) in "LM"
    if category == "M":  # a mark without its letter is not text
        return character if in_word or before in _JOINERS or _category(before) == "N" else ""
    if character in _JOINERS:
        return character if in_word and _category(after) in "LM" else ""
    if character == "'":
        return character if in_word and _category(after) == "L" else " "
    if character == "·":
        return character if before == after == "l" else " "
    return " "
