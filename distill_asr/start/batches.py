"""Batches of an epoch from the lengths of utterances, by the rules of ESPnet's samplers; no torch.

Legend: n utterances of a batch, m seconds of its longest one; a batch costs what n * m seconds do.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_asr.io.audio import SAMPLE_RATE

_BINS, _BATCH, _FOLD = 1000000, 20, 80000  # ESPnet's defaults: samples, utterances, samples


@dataclass(frozen=True)
class Batches:
    """Batches of an epoch: how many, and seconds of audio in them, padding included."""

    count: int
    padded: float

    @property
    def seconds(self) -> float:
        """Of a batch, on average."""
        return self.padded / max(1, self.count)

    def limited(self, count: int | None) -> Batches:
        """With so many batches an epoch; ESPnet goes on in the next round where they are more."""
        return self if count is None else Batches(count, count * self.seconds)


def batches(lengths: Iterable[float], values: Mapping[str, Any]) -> Batches:
    """Batches of utterances.

    Parameters
    ----------
    lengths : of the utterances, seconds.
    values : ESPnet's config: ``batch_type`` and its size.
    """
    kind = values.get("batch_type", "folded")
    ordered = sorted(lengths)
    size = int(values.get("batch_size", _BATCH))
    if kind in ("numel", "length"):
        parts = _filled(ordered, float(values.get("batch_bins", _BINS)) / SAMPLE_RATE)
    elif kind == "folded":
        fold = values.get("fold_length") or [_FOLD]
        parts = _folded(ordered, size, float(fold[0]) / SAMPLE_RATE)
    else:
        ordered.reverse()
        if kind == "unsorted":
            random.Random(0).shuffle(ordered)
        parts = _even(ordered, size)
    found = [(len(part), max(part)) for part in parts]
    return Batches(len(found), sum(n * m for n, m in found))


def spread(lengths: Sequence[float], count: int) -> list[float]:
    """Lengths that are distributed as those given, in ascending order.

    Parameters
    ----------
    lengths : at least one, seconds.
    count : how many to give.
    """
    ordered = sorted(lengths)
    return [ordered[i * len(ordered) // count] for i in range(count)]


def weighted(lengths: Iterable[float]) -> float:
    """Mean length a second of audio: what decides a cost that grows with the square."""
    some = list(lengths)
    return sum(one * one for one in some) / max(sum(some), 1e-9)


def _filled(ordered: Sequence[float], most: float) -> Iterator[Sequence[float]]:
    """A batch ends with the utterance by which it exceeds the size."""
    first = 0
    for last, length in enumerate(ordered):
        if (last + 1 - first) * length > most or last + 1 == len(ordered):
            yield ordered[first : last + 1]
            first = last + 1


def _folded(ordered: Sequence[float], size: int, fold: float) -> Iterator[Sequence[float]]:
    """As many utterances each, fewer where they are longer than ``fold`` seconds."""
    first = 0
    while first < len(ordered):
        count = max(1, int(size / (1 + int(ordered[first] / fold))))
        yield ordered[first : first + count]
        first += count


def _even(ordered: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    """As many utterances each, those that are left over spread among the batches."""
    total, count = len(ordered), max(1, len(ordered) // size)
    for number in range(count):
        yield ordered[number * total // count : (number + 1) * total // count]
