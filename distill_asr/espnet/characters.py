"""Characters as tokens, without ESPnet's search for symbols at each of them."""

from __future__ import annotations

from typing import Any

from espnet2.text.char_tokenizer import CharTokenizer


class Characters(CharTokenizer):
    """The tokens of ESPnet's tokenizer that has no symbols of several characters."""

    def text2tokens(self, line: str) -> list[str]:
        """Each character; a blank is the space symbol."""
        tokens: list[str] = []
        for word in line.split(" "):
            tokens += word
            tokens.append(self.space_symbol)
        return tokens[:-1]


def quicker(tokenizer: Any) -> Any:
    """The same tokens sooner, where a tokenizer gives characters alone; any other as it is."""
    if type(tokenizer) is not CharTokenizer:
        return tokenizer
    if tokenizer.non_linguistic_symbols or tokenizer.nonsplit_symbols:
        return tokenizer
    return Characters(space_symbol=tokenizer.space_symbol)
