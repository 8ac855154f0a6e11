"""A student's tokens as sherpa-onnx's ``tokens.txt`` names them, and words of token ids."""

from __future__ import annotations

import re
from collections.abc import Sequence

from espnet2.text.build_tokenizer import build_tokenizer

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig

_BLANK, _SPACE, WORD_BEGIN = "<blk>", "<space>", "▁"
UNKNOWN = "<unk>"
_NO_WORDS = (UNKNOWN, "⁇", "<sos/eos>")  # ⁇ is what sentencepiece makes of an unknown piece
_CONTINUED = "##"  # begins a word piece that does not begin a word
_IDEOGRAPH = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


def symbols(config: ModelConfig) -> list[str]:
    """Names of the tokens, in their order; words are these in a row, with ▁ for a space.

    Raises
    ------
    UserError : two tokens would have the same name, or one has a blank in it.
    """
    kind = config.token_type
    names = [_BLANK] + [_symbol(token, kind) for token in config.token_list[1:]]
    bad = [name for name in names if not name or re.search(r"\s", name)]
    bad += sorted({name for name in names if names.count(name) > 1})
    if bad:
        raise UserError(
            f"token_list: {', '.join(map(repr, bad[:5]))}: cannot be written to tokens.txt, where "
            "names differ and have no blanks; train with another token list"
        )
    return names


def _symbol(token: str, kind: str | None) -> str:
    if token == _SPACE:
        return WORD_BEGIN
    if re.fullmatch("<.+>", token) or kind not in ("word", PIECES):
        return token
    if kind == "word":
        return WORD_BEGIN + token
    if token.startswith(_CONTINUED):
        return token.removeprefix(_CONTINUED)
    if token.startswith(WORD_BEGIN) or _IDEOGRAPH.match(token):
        return token
    return WORD_BEGIN + token


class Words:
    """Token ids to words, by the student's own tokenizer.

    Pieces of a text model are joined as a runtime joins them: without a rule for apostrophes.

    Parameters
    ----------
    names : see ``symbols``.
    """

    def __init__(self, config: ModelConfig, names: Sequence[str]) -> None:
        self.names, self.tokens = names, config.token_list
        self.tokenizer = None
        if config.token_type != PIECES:
            self.tokenizer = build_tokenizer(config.token_type, bpemodel=config.bpemodel)

    def __call__(self, ids: Sequence[int]) -> str:
        """Words in the form of ``plain``."""
        if self.tokenizer is None:
            return plain("".join(self.names[one] for one in ids).replace(WORD_BEGIN, " "))
        return plain(self.tokenizer.tokens2text([self.tokens[one] for one in ids]))


def plain(text: str) -> str:
    """Words with one space between them, without tokens that are not words.

    Runtimes differ in whether they print that, and how many spaces a row of them is.
    """
    for nothing in _NO_WORDS:
        text = text.replace(nothing, "")
    return " ".join(text.split())
