"""Token ids to words, by the kind of the tokens."""

from __future__ import annotations

from collections.abc import Sequence

from espnet2.text.build_tokenizer import build_tokenizer

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.data.pieces import PieceTokenizer


class TokenWords:
    """Token ids to words.

    Parameters
    ----------
    tokens : the token list, ``<sos/eos>`` last.
    kind : ``char``, ``word``, ``bpe`` or ``hugging_face``.
    bpemodel : model of the subword pieces, a file or a text model.
    """

    def __init__(self, tokens: Sequence[str], kind: str, bpemodel: str | None = None) -> None:
        self.tokens = list(tokens)
        if kind == PIECES:
            self.tokenizer = PieceTokenizer(str(bpemodel))
        else:
            self.tokenizer = build_tokenizer(kind, bpemodel=bpemodel)
        self.end = len(self.tokens) - 1  # <sos/eos>

    def __call__(self, ids: Sequence[int]) -> str:
        """Words of a token sequence, without the end token."""
        return self.tokenizer.tokens2text([self.tokens[i] for i in ids if i != self.end]).strip()
