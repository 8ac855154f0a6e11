"""Token ids to words, by a student's config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distill_asr.data.token_list import token_list_problems
from distill_asr.data.words import TokenWords
from distill_asr.decode.search import Hypothesis
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig


class TokenText(TokenWords):
    """Token ids to words of a student.

    Raises
    ------
    UserError : the student has no output layer, or its token list is not in ESPnet's form.
    """

    def __init__(self, config: ModelConfig) -> None:
        kind = config.token_type
        if kind is None:
            raise UserError(
                f"{config.file}: model {config.model!r} has no output layer and cannot be decoded; "
                "train stage 2 with `--init` and decode that experiment"
            )
        if problems := token_list_problems(config.token_list, f"{config.file}: token_list"):
            raise UserError(problems)
        super().__init__(config.token_list, kind, config.bpemodel)

    def best(self, found: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
        """Hypotheses by their words, in order; alignments of the same words count once."""
        best: dict[str, Hypothesis] = {}
        for hypothesis in found:
            best.setdefault(self(hypothesis.tokens), hypothesis)
        return best

    def entry(self, words: str, found: Hypothesis) -> dict[str, Any]:
        """A line's part of ``nbest.jsonl``; with the frame of every token, if found.

        Parameters
        ----------
        words : text of the hypothesis.
        found : the hypothesis.
        """
        entry: dict[str, Any] = {"text": words, "score": found.score}
        if found.frames is None:
            return entry
        return entry | {"tokens": [self.tokens[i] for i in found.tokens], "frames": found.frames}
