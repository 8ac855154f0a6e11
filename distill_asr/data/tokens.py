"""Token lists in ESPnet's form: ``<blank> <unk>`` tokens by falling count ``<sos/eos>``.

Pieces of a text model's tokenizer are ``hugging_face``, as in ESPnet; unknown characters are
``<unk>``. Language tags, words like ``<hi>`` in front of a transcript, are one token each.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable

from distill_asr.data.normalise import is_language_tag
from distill_asr.data.pieces import KIND as PIECES
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.io.files import write_text_atomic

BLANK, UNKNOWN, _SPACE, SOS_EOS = "<blank>", "<unk>", "<space>", "<sos/eos>"
RESERVED = frozenset({BLANK, UNKNOWN, _SPACE, SOS_EOS, "<s>", "</s>"})  # the last two: BPE models'
KINDS = ("char", "word", PIECES)


def token_list(
    texts: Iterable[str], kind: str, tokenizer: str | None = None, tags: Collection[str] = ()
) -> list[str]:
    """What ``espnet2.bin.tokenize_text --write_vocabulary true`` gives for these transcripts.

    Parameters
    ----------
    texts : transcripts without ids, of one language or of all that share the list. Every
        character has its token, however rare.
    kind : ``char``, ``word`` or ``hugging_face``.
    tokenizer : hub id or directory, for ``hugging_face``.
    tags : the language tags that may stand in front of a transcript.

    Raises
    ------
    UserError : no such tokenizer.
    """
    if kind not in KINDS:
        raise ValueError(f"token kind {kind!r}; expected one of {', '.join(KINDS)}")
    counts = _piece_counts(texts, tokenizer) if kind == PIECES else _counts(texts, kind, tags)
    # equal counts: the one seen first goes first, as in ESPnet
    return [BLANK, UNKNOWN, *(token for token, _ in counts.most_common()), SOS_EOS]


def _piece_counts(texts: Iterable[str], tokenizer: str) -> Counter[str]:
    pieces = PieceTokenizer(tokenizer)
    counts = Counter(piece for text in texts for piece in pieces.text2tokens(text))
    counts.pop(pieces.unknown, None)
    return counts


def _counts(texts: Iterable[str], kind: str, tags: Collection[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        if kind == "word":
            counts.update(words)
            continue
        text = " ".join(words)
        if words and words[0] in tags:
            counts[words[0]] += 1
            text = text.removeprefix(words[0])
        counts.update(_SPACE if char == " " else char for char in text)
    return counts


def unknown_pieces(texts: Iterable[str], tokenizer: str) -> Counter[str]:
    """Words with characters that the tokenizer lacks, with their counts.

    Parameters
    ----------
    texts : transcripts without ids.
    tokenizer : hub id or directory.
    """
    pieces = PieceTokenizer(tokenizer)
    words = Counter(word for text in texts for word in text.split())
    return Counter({w: n for w, n in words.items() if pieces.unknown in pieces.text2tokens(w)})


def write_token_list(
    texts: Iterable[str],
    path: str | os.PathLike,
    kind: str,
    tokenizer: str | None = None,
    tags: Collection[str] = (),
) -> list[str]:
    """Write the token list, one a line, and return it.

    Parameters
    ----------
    texts : transcripts without ids.
    path : the file.
    kind, tokenizer, tags : as of ``token_list``.
    """
    tokens = token_list(texts, kind, tokenizer, tags)
    write_text_atomic(path, "".join(f"{token}\n" for token in tokens))
    return tokens


def leading_tags(texts: Iterable[str]) -> list[str]:
    """Language tags of transcripts that have them, each once, in the order they come in."""
    first = dict.fromkeys(text.split(maxsplit=1)[0] for text in texts if text.strip())
    return [word for word in first if is_language_tag(word)]
