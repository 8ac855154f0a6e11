"""Pieces of a pretrained text model's tokenizer as token units (``token_type: hugging_face``).

So a student's tokens are the positions of its text teacher: Chinese characters with
bert-base-chinese, word pieces with an English BERT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from distill_asr.errors import UserError
from distill_asr.pretrained.request import locate_model

KIND = "hugging_face"  # ESPnet's name; its `bpemodel` is the hub id or the directory
_WAY_OUT = "give a text model's hub id or directory"

# BERT makes each of these a piece of its own
_IDEOGRAPHS = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ebef\U0002f800-\U0002fa1f"
)
_BETWEEN_IDEOGRAPHS = re.compile(f"(?<=[{_IDEOGRAPHS}]) +(?=[{_IDEOGRAPHS}])")
# it's, don't, we'll; o'clock, l'eau; the boys' school
_ENDING = re.compile(r"(?<=\w) ' (s|t|d|m|ll|re|ve)\b")
_PREFIX = re.compile(r"\b([odl]) ' (?=\w)")
_AFTER_WORD = re.compile(r"(?<=\w) '")


class PieceTokenizer:
    """Text to pieces and back, in the form of ESPnet's tokenizers.

    Its ids are those of the student's own token list, not of the whole vocabulary.

    Parameters
    ----------
    model : hub id or directory; loaded when first needed, so that this can be sent to workers.
    """

    def __init__(self, model: str) -> None:
        self.model = str(model)
        self._tokenizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "_tokenizer": None}

    @property
    def unknown(self) -> str | None:
        """The piece for unknown characters, if the tokenizer has one."""
        return self._loaded().unk_token

    def text2tokens(self, line: str) -> list[str]:
        """Pieces of a sentence, without special ones.

        Raises
        ------
        UserError : no such tokenizer.
        """
        return self._loaded().tokenize(line)

    def tokens2text(self, tokens: Iterable[str]) -> str:
        """Words of pieces.

        WordPiece does not mark spaces: Chinese characters have none between them, and
        apostrophes are joined to their word as English and French write them.
        """
        text = self._loaded().convert_tokens_to_string(list(tokens)).strip()
        if not self._is_wordpiece():
            return text
        text = _BETWEEN_IDEOGRAPHS.sub("", text)
        text = _PREFIX.sub(r"\1'", _ENDING.sub(r"'\1", text))
        return _AFTER_WORD.sub("'", text)

    def _is_wordpiece(self) -> bool:
        backend = getattr(self._loaded(), "backend_tokenizer", None)
        return type(getattr(backend, "model", None)).__name__ == "WordPiece"

    def _loaded(self) -> Any:
        if self._tokenizer is None:
            import transformers

            try:
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                    locate_model(self.model)
                )
            except (OSError, ValueError, KeyError, ImportError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(
                    f"tokenizer {self.model}: cannot be loaded ({reason}); {_WAY_OUT}"
                ) from error
        return self._tokenizer
