"""Controls: teachers with less knowledge than a text model, to compare a gain with.

A text teacher may help because it models language, or because any fixed vector for each piece keeps
a student from overfitting. Controls have the second without the first.

Legend: S teacher positions (pieces of a sentence), E teacher width, P kinds of pieces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.checksum import file_sha256
from distill_asr.io.progress import Bar
from distill_asr.pretrained.loading import load_model_config, load_tokenizer, tokenizer_facts
from distill_asr.teachers.batching import grouped
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.contract import Teacher
from distill_asr.teachers.text import TextTeacher

_SHOWN = 60  # characters of a sentence in a message


class RandomTeacher(Teacher):
    """One fixed random vector a piece, or a position; build it with ``from_config``.

    The vectors are normal deviates of mean 0 and deviation 1, drawn from the seed and the piece's
    number alone. Pieces, and the width, are those of a text model, whose weights are not read.
    """

    reads = "text"

    def __init__(self, tokenizer: Any, width: int, vectors: str, seed: int) -> None:
        self.width = width
        facts = {"tokenizer": tokenizer_facts(tokenizer), "width": width}
        facts |= {"vectors": vectors, "seed": seed}
        self.fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self._tokenizer = tokenizer
        self._by_position = vectors == "position"
        self._vector = cache(lambda number: _deviates(seed, number, width))

    @classmethod
    def from_config(cls, config: TeacherConfig, device: str = "cpu") -> RandomTeacher:
        """Read the tokenizer and the width of a text model.

        Raises
        ------
        UserError : no such model, or no tokenizer beside it.
        """
        request = config.request()
        model_config = load_model_config(request, "config.json and the tokenizer's files")
        tokenizer = load_tokenizer(request, model_config)
        return cls(tokenizer, model_config.hidden_size, config.vectors, config.seed)

    def size(self, item: str) -> int:
        """Number of pieces, special ones included."""
        return len(self._numbers(item))

    def states(self, items: list[str]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each sentence."""
        return [np.stack([self._vector(n) for n in self._numbers(item)]) for item in items]

    def _numbers(self, sentence: str) -> list[int]:
        pieces = self._tokenizer(sentence, verbose=False)["input_ids"]
        return list(range(len(pieces))) if self._by_position else list(pieces)


class PieceTeacher(Teacher):
    """The mean state of each piece by a text teacher, or the difference from that mean.

    Parameters
    ----------
    teacher : a text teacher.
    means : of its states, by piece.
    residual : give the states less the mean of their piece, instead of the mean. This is the
        linear regression on the piece's identity, and what it leaves.
    """

    reads = "text"

    def __init__(self, teacher: TextTeacher, means: PieceMeans, residual: bool) -> None:
        self.width, self.max_size = teacher.width, teacher.max_size
        facts = [teacher.fingerprint, means.sha256, residual]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._teacher, self._means, self._residual = teacher, means, residual

    @classmethod
    def of(cls, teacher: TextTeacher, config: TeacherConfig) -> PieceTeacher:
        """Read the corpus through the teacher.

        Raises
        ------
        UserError : no such corpus, an empty one, or sentences too long for the model.
        """
        return cls(teacher, PieceMeans.measured(teacher, config), config.residual is not None)

    def size(self, item: str) -> int:
        """Number of pieces, special ones included."""
        return self._teacher.size(item)

    def objection(self, item: str) -> str | None:
        """Pieces that the corpus does not hold."""
        pieces = self._teacher.pieces([item])[0]
        unknown = [piece for piece in pieces if piece not in self._means.row]
        if not unknown:
            return None
        names = ", ".join(map(repr, self._teacher.names(unknown)))
        return f"{names} not in {self._means.corpus}, which tells the mean of each piece"

    def states(self, items: list[str]) -> list[np.ndarray]:
        """Give float32 [S_i, E] for each sentence, whose pieces the corpus must hold."""
        means = [self._means(pieces) for pieces in self._teacher.pieces(items)]
        if not self._residual:
            return means
        given = self._teacher.states(items)
        return [states - mean for states, mean in zip(given, means, strict=True)]


class PieceMeans:
    """A text teacher's mean state of each piece in a corpus.

    Parameters
    ----------
    corpus : file of sentences.
    pieces : [P] numbers of pieces, sorted.
    means : float32 [P, E].
    """

    def __init__(self, corpus: str, pieces: np.ndarray, means: np.ndarray) -> None:
        self.corpus = corpus
        self.sha256 = file_sha256(corpus)
        self.row = {int(piece): row for row, piece in enumerate(pieces)}
        self._means = means

    def __call__(self, pieces: Sequence[int]) -> np.ndarray:
        """Float32 [S, E] of pieces that all are in the corpus."""
        return self._means[[self.row[piece] for piece in pieces]]

    @classmethod
    def measured(cls, teacher: TextTeacher, config: TeacherConfig) -> PieceMeans:
        """Let a teacher read the corpus of its config.

        Parameters
        ----------
        teacher : gives the states whose means are wanted.
        config : names the corpus, and how many pieces go through at a time.

        Raises
        ------
        UserError : no such file, nothing in it, or sentences too long for the model.
        """
        sentences = _sentences(config, teacher)
        rows = teacher.pieces(sentences)
        pieces, index = np.unique(np.concatenate([*map(np.array, rows)]), return_inverse=True)
        ends = np.cumsum([len(row) for row in rows])
        sums = np.zeros((len(pieces), teacher.width))
        sizes = {str(number): len(row) for number, row in enumerate(rows)}
        with Bar(desc=f"{config.corpus}: means of pieces", total=len(rows), delay=2) as bar:
            for batch in grouped(sizes, config.batch_tokens):
                numbers = [int(name) for name in batch]
                states = teacher.states([sentences[number] for number in numbers])
                for number, given in zip(numbers, states, strict=True):
                    np.add.at(sums, index[ends[number] - len(given) : ends[number]], given)
                bar.update(len(batch))
        counts = np.bincount(index, minlength=len(pieces))
        return cls(config.corpus, pieces, (sums / counts[:, None]).astype(np.float32))


def _sentences(config: TeacherConfig, teacher: TextTeacher) -> list[str]:
    """The corpus, a sentence a line."""
    where = f"{config.path}: corpus: {config.corpus}"
    try:
        lines = Path(config.corpus).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{where}: cannot be read ({error}); name a file of UTF-8 text, a sentence a line"
        ) from error
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise UserError(f"{where}: no sentences in it; expected one a line")
    long = [
        f"{where}: {len(pieces)} pieces, and the model takes at most {teacher.max_size}; "
        f"shorten or remove {sentence[:_SHOWN]!r}"
        for sentence, pieces in zip(sentences, teacher.pieces(sentences), strict=True)
        if teacher.max_size is not None and len(pieces) > teacher.max_size
    ]
    if long:
        raise UserError(long)
    return sentences


def _deviates(seed: int, number: int, width: int) -> np.ndarray:
    # the legacy generator: its stream is the same in every version of NumPy
    return np.random.RandomState([seed, number]).standard_normal(width).astype(np.float32)
