"""Which items go through a teacher together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from distill_asr.io.audio import SAMPLE_RATE


def batches_of_audio(
    num_samples: Mapping[str, int], utterances: Iterable[str], batch_seconds: float
) -> list[list[str]]:
    """Group utterances, longest first, so that a padded batch lasts at most so long.

    An utterance longer than that is a batch of its own.

    Parameters
    ----------
    num_samples : length of each utterance, samples of 16 kHz.
    utterances : those to group.
    batch_seconds : most audio of a batch, padding included.
    """
    return grouped({u: num_samples[u] for u in utterances}, batch_seconds * SAMPLE_RATE)


def grouped(sizes: Mapping[str, int], budget: float) -> list[list[str]]:
    """Group by size, largest first, so that a padded group stays within a budget.

    Parameters
    ----------
    sizes : of the items by name, above 0.
    budget : most of a group, in the unit of the sizes: items times the largest of them. A larger
        item is a group of its own.
    """
    groups: list[list[str]] = []
    room = 0
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        if room == 0:
            groups.append([])
            room = max(1, math.floor(budget / sizes[name]))
        groups[-1].append(name)
        room -= 1
    return groups
