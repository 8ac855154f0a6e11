"""The characters of a transcript that a token covers, to compare two tokenisations.

Legend: U student tokens, S teacher positions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill_asr.data.normalise import APOSTROPHES, is_language_tag
from distill_asr.errors import UserError
from distill_asr.pretrained.request import locate_model

Span = tuple[int, int]  # first character and the one after the last; equal where there is none

_SPACE = "<space>"
ALIKE = APOSTROPHES | {ord("ı"): "i"}  # Turkish writes it I in capitals, as all others write i
_UNKNOWN = ("<unk>", "[UNK]")
BEGINS, GOES_ON = "▁", "##"  # marks of sentencepiece and of WordPiece


def token_spans(tokens: Sequence[str], text: str) -> list[Span]:
    """Characters of ``text`` that each token covers.

    Characters, words, sentencepiece and WordPiece tokens are understood. Case and accents may
    differ; the tokens may lack the punctuation, and have a space where it parts words. Unknown
    tokens cover what the known ones around them leave: a character each if that fits, else each
    all of it. A language's tag at the beginning covers nothing.

    Parameters
    ----------
    tokens : of the transcript, without an end token.

    Raises
    ------
    ValueError : the tokens do not spell the text.
    """
    if _begins_with_tag(tokens, text):
        tagged = 2 if tokens[1:2] == [_SPACE] else 1
        return [(0, 0)] * tagged + token_spans(tokens[tagged:], text)
    folded, spans, place = _fold(text), [], 0
    groups = _groups(tokens)
    for number, (strangers, known) in enumerate(groups):
        if strangers:  # at least one character, and no more than needed
            place += len(folded[place:]) - len(folded[place:].lstrip())
        starts = range(place + 1, len(text) + 1) if strangers else [place]
        is_last = number == len(groups) - 1
        walks = ((start, _walk(folded, start, known, is_last)) for start in starts)
        start, found = next(((s, w) for s, w in walks if w is not None), (place, None))
        if found is None:
            raise ValueError(f"the tokens {' '.join(tokens)!r} do not spell {text!r}")
        spans += _unknown_spans(strangers, text, place, start) + found
        place = spans[-1][1] if found else start
    return spans


def pooling_weights(student: Sequence[Span], teacher: Sequence[Span], text: str) -> Tensor:
    """Share of each teacher position in each student token, by characters in common.

    Parameters
    ----------
    student, teacher : first character of each token and the one after its last, U and S of them.
    text : what they count the characters of.

    Returns
    -------
    [U, S]; rows sum up to 1, or are zero where no character is shared. White space does not count.
    """
    seen = torch.tensor([0] + [not char.isspace() for char in text]).cumsum(0)
    ours = torch.tensor(student, dtype=torch.int64).reshape(-1, 1, 2)
    theirs = torch.tensor(teacher, dtype=torch.int64).reshape(1, -1, 2)
    first = torch.maximum(ours[..., 0], theirs[..., 0])
    last = torch.minimum(ours[..., 1], theirs[..., 1])
    shared = (seen[torch.maximum(first, last)] - seen[first]).float()
    return shared / shared.sum(dim=1, keepdim=True).clamp(min=1)


class PieceSpans:
    """Characters that the pieces of a text teacher cover.

    Parameters
    ----------
    tokenizer : the teacher's, a hub id or a directory; loaded when first needed.
    """

    def __init__(self, tokenizer: str) -> None:
        self.name = tokenizer
        self._tokenizer: Any = None

    def __call__(self, text: str) -> tuple[list[Span], list[str]]:
        """Spans of all pieces, special ones included, and the characters that the teacher lacks.

        Raises
        ------
        UserError : no such tokenizer, or one that does not give positions.
        """
        encoded = self._loaded()(text, return_offsets_mapping=True, truncation=False, verbose=False)
        spans = [tuple(span) for span in encoded["offset_mapping"]]
        pieces, unknown = encoded["input_ids"], self._tokenizer.unk_token_id
        strange = [text[slice(*s)] for p, s in zip(pieces, spans, strict=True) if p == unknown]
        return spans, [characters for characters in strange if characters]

    @property
    def folds_case(self) -> bool:
        """Whether capitals are small letters to it; UserError as above."""
        tokenizer = self._loaded()
        return tokenizer("ABC def")["input_ids"] == tokenizer("abc def")["input_ids"]

    def _loaded(self) -> Any:
        if self._tokenizer is None:
            import transformers

            try:
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                    locate_model(self.name)
                )
            except (OSError, ValueError, KeyError, ImportError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(
                    f"match_conf.tokenizer: {self.name} cannot be loaded ({reason}); give the "
                    "text teacher's hub id or directory"
                ) from error
            if not self._tokenizer.is_fast:
                raise UserError(
                    f"match_conf.tokenizer: {self.name} does not report which characters a "
                    "piece covers; save it with a tokenizer.json (a fast tokenizer)"
                )
        return self._tokenizer


def _begins_with_tag(tokens: Sequence[str], text: str) -> bool:
    """Whether the first token is a language's tag, which the text does not have."""
    first = tokens[0] if tokens else ""
    is_tag = is_language_tag(first) and first not in _UNKNOWN
    return is_tag and not text.lstrip().startswith(first)


def _groups(tokens: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Number of unknown tokens and the known ones that follow them, again and again."""
    groups: list[tuple[int, list[str]]] = [(0, [])]
    for token in tokens:
        strangers, known = groups[-1]
        if token not in _UNKNOWN:
            known.append(token)
        elif known:
            groups.append((1, []))
        else:
            groups[-1] = (strangers + 1, known)
    return groups


def _walk(text: str, place: int, tokens: list[str], to_the_end: bool) -> list[Span] | None:
    """Spans of known tokens from ``place`` on, skipping other characters; None where they end."""
    spans = []
    for token in tokens:
        first = None
        for char in _characters(token):
            found = _gap(text, place) if char == " " else _letter(text, place, char)
            if found is None:
                return None
            first = found if first is None else first
            place = found + 1
        spans.append((place if first is None else first, place))
    if to_the_end and any(map(str.isalnum, text[place:])):
        return None
    return spans


def _letter(text: str, place: int, char: str) -> int | None:
    """The next position of a character, skipping all that are not letters."""
    while place < len(text) and text[place] != char:
        if text[place].isalnum():
            return None
        place += 1
    return place if place < len(text) else None


def _gap(text: str, place: int) -> int | None:
    """Where words part before the next letter: at white space, or else a sign such as a hyphen."""
    last = next((i for i in range(place, len(text)) if text[i].isalnum()), len(text))
    signs = [i for i in range(place, last) if not unicodedata.category(text[i]).startswith("M")]
    return min(signs, key=lambda i: text[i] != " ", default=None)


def _characters(token: str) -> str:
    if token == _SPACE:
        return " "
    if token.startswith(GOES_ON) and len(token) > len(GOES_ON):
        token = token.removeprefix(GOES_ON)
    return _fold(token.removeprefix(BEGINS))


def _unknown_spans(count: int, text: str, first: int, last: int) -> list[Span]:
    places = [place for place in range(first, last) if not text[place].isspace()]
    if len(places) == count:
        return [(place, place + 1) for place in places]
    return [(first, last)] * count


def _fold(text: str) -> str:
    """Lower case without accents, character by character, so that places stay what they are."""
    return "".join(map(_fold_character, text))


def _fold_character(char: str) -> str:
    if char.isspace():
        return " "
    char = char.translate(ALIKE)
    base = [c for c in unicodedata.normalize("NFD", char) if not unicodedata.combining(c)]
    lower = base[0].lower() if len(base) == 1 else char
    return lower if len(lower) == 1 else char
