"""Token ids to words, by a student's config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from espnet2.text.build_tokenizer import build_tokenizer

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.data.token_list import token_list_problems
from distill_asr.decode.search import Hypothesis
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig


class TokenText:
    """Token ids to words.

    Raises
    ------
    UserError : the student has no output layer, or its token list is not in ESPnet's form.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.tokens = config.token_list
        kind = config.token_type
        if kind is None:
            raise UserError(
                f"{config.file}: model {config.model!r} has no output layer and cannot be decoded; "
                "train stage 2 with `--init` and decode that experiment"
            )
        if problems := token_list_problems(self.tokens, f"{config.file}: token_list"):
            raise UserError(problems)
        if kind == PIECES:
            self.tokenizer = PieceTokenizer(str(config.bpemodel))
        else:
            self.tokenizer = build_tokenizer(kind, bpemodel=config.bpemodel)
        self.end = len(self.tokens) - 1  # <sos/eos>

    def __call__(self, ids: list[int]) -> str:
        """Words of a token sequence, without the end token."""
        return self.tokenizer.tokens2text([self.tokens[i] for i in ids if i != self.end]).strip()

    def best(self, found: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
        """Hypotheses by their words, in order; alignments of the same words count once."""
        best: dict[str, Hypothesis] = {}
        for hypothesis in found:
            best.setdefault(self(hypothesis.tokens), hypothesis)
        return best

    def entry(self, words: str, found: Hypothesis) -> dict[str, Any]:
        """A line's part of ``nbest.jsonl``; with the frame of every token, if found."""
        entry: dict[str, Any] = {"text": words, "score": found.score}
        if found.frames is None:
            return entry
        return entry | {"tokens": [self.tokens[i] for i in found.tokens], "frames": found.frames}
