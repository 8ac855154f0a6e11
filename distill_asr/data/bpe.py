"""Byte-pair encoding with sentencepiece: the model, and its pieces as a token list."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from distill_asr.data.tokens import BLANK, SOS_EOS, UNKNOWN
from distill_asr.errors import UserError
from distill_asr.io.files import atomic_write, write_text_atomic

KIND = "bpe"  # ESPnet's name for `token_type`
_CONTROL = ("<unk>", "<s>", "</s>")  # pieces that ESPnet has tokens of its own for


def train_bpe(
    texts: Sequence[str], vocab_size: int, tags: Sequence[str] = ()
) -> tuple[bytes, list[str]]:
    """Train merges (Sennrich et al., arXiv 1508.07909) from transcripts without ids.

    Every character has its piece, language tags are a piece each, and no text is normalised, so
    that pieces spell what was transcribed. The same transcripts give the same model.

    Parameters
    ----------
    texts : the transcripts.
    vocab_size : size of the token list, ``<blank> <unk> <sos/eos>`` included.
    tags : language tags, a piece each.

    Returns
    -------
    The sentencepiece model, and the token list in ESPnet's form.

    Raises
    ------
    UserError : the transcripts have more characters, or give fewer pieces, than ``vocab_size``.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            user_defined_symbols=list(tags),
            # longer sentences would be left out; the library takes no less than 10 bytes
            max_sentence_length=max([10, *(len(text.encode()) + 1 for text in texts)]),
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2] or str(error)
        raise UserError(
            f"--vocab-size {vocab_size}: {len(texts)} transcripts cannot be cut into as many "
            f"pieces: {reason}"
        ) from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    pieces = [piece for piece in pieces if piece not in _CONTROL]
    return model.getvalue(), [BLANK, UNKNOWN, *pieces, SOS_EOS]


def write_bpe(
    texts: Sequence[str],
    vocab_size: int,
    model: str | os.PathLike,
    path: str | os.PathLike,
    tags: Sequence[str] = (),
) -> list[str]:
    """Train, write the sentencepiece model and the token list, one a line; return the list.

    Parameters
    ----------
    texts, vocab_size, tags : as of ``train_bpe``.
    model : file of the sentencepiece model.
    path : file of the token list.

    Raises
    ------
    UserError : as ``train_bpe``.
    """
    content, tokens = train_bpe(texts, vocab_size, tags)
    with atomic_write(model) as temporary:
        Path(temporary).write_bytes(content)
    write_text_atomic(path, "".join(f"{token}\n" for token in tokens))
    return tokens
