"""Token lists in ESPnet's form: ``<blank> <unk>`` tokens by falling count ``<sos/eos>``.

Language tags, words like ``<hi>`` in front of a transcript, are one token each.
"""

import os
from collections import Counter
from collections.abc import Iterable

from distill_asr.data.normalise import is_language_tag
from distill_asr.files import write_text_atomic

BLANK, UNKNOWN, SPACE, SOS_EOS = "<blank>", "<unk>", "<space>", "<sos/eos>"
KINDS = ("char", "word")


def token_list(texts: Iterable[str], kind: str) -> list[str]:
    """What ``espnet2.bin.tokenize_text --write_vocabulary true`` gives for these transcripts.

    Parameters
    ----------
    texts : transcripts without ids, of one language or of all that share the list. Every
        character has its token, however rare.
    kind : ``char`` or ``word``.
    """
    if kind not in KINDS:
        raise ValueError(f"token kind {kind!r}; expected one of {', '.join(KINDS)}")
    counts: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        if kind == "word":
            counts.update(words)
            continue
        text = " ".join(words)
        if words and is_language_tag(words[0]):
            counts[words[0]] += 1
            text = text.removeprefix(words[0])
        counts.update(SPACE if char == " " else char for char in text)
    # equal counts: the one seen first goes first, as in ESPnet
    return [BLANK, UNKNOWN, *(token for token, _ in counts.most_common()), SOS_EOS]


def write_token_list(texts: Iterable[str], path: str | os.PathLike, kind: str) -> list[str]:
    """Write the token list, one a line, and return it."""
    tokens = token_list(texts, kind)
    write_text_atomic(path, "".join(f"{token}\n" for token in tokens))
    return tokens


def language_tags(tokens: Iterable[str]) -> list[str]:
    """The language tags of a token list, in order; ESPnet's ``non_linguistic_symbols``."""
    return [token for token in tokens if is_language_tag(token)]
