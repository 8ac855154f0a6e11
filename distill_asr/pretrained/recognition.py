"""What recognisers of transformers have in common: audio in, words and their log-probability out.

Legend: N samples, U tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from distill_asr.io.audio import SAMPLE_RATE

_UNKNOWN = "<unk>"  # in words, whatever a tokenizer calls it
_LONGEST = 30 * SAMPLE_RATE  # samples that a recogniser gets at once, window or not


@dataclass(frozen=True)
class Heard:
    """Words of one piece of audio, by the best path of a greedy search.

    ``score`` is the path's log-probability (natural logarithm), ``tokens`` how many tokens it has,
    the one that ends it included. ``finished``: the search came to an end by itself.
    """

    words: str
    score: float
    tokens: int
    finished: bool = True


class PretrainedRecogniser(ABC):
    """A frozen recogniser; get one from ``load_recogniser``.

    Attributes
    ----------
    max_samples : longest audio that it takes.
    fingerprint : SHA-256 of everything that decides its words.
    """

    max_samples: int = _LONGEST
    fingerprint: str

    @abstractmethod
    def recognise(self, waveforms: list[np.ndarray]) -> list[Heard]:
        """Words of each waveform, float32 [N] at 16 kHz; the same alone and in a batch."""


def words_of(tokenizer: Any, tokens: Tensor, **options: Any) -> str:
    """Words of tokens [U], without special ones; an unknown token is seen.

    Parameters
    ----------
    options : more of the tokenizer's ``decode``.
    """
    # special tokens stay until here: they part equal letters, and unknown ones must be seen
    words = tokenizer.decode(tokens, skip_special_tokens=False, **options)
    for token in tokenizer.all_special_tokens:
        words = words.replace(token, _UNKNOWN if token == tokenizer.unk_token else "")
    return words.strip()
