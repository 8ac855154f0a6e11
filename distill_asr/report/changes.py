"""What distilling changed: confusions, and errors by length, speaker and noise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from distill_asr.report.utterances import SetView

EDIT = re.compile(r"([=~\-+])(\d+)")
MOST_CONFUSIONS = 15  # of each kind
MOST_SPEAKERS = 60
BINS = 5
_NOTHING = "∅"

Bin = TypeVar("Bin", str, float)


@dataclass(frozen=True)
class Confusion:
    """A unit of the reference recognised as another one; ``∅`` stands for none."""

    reference: str
    found: str
    before: int  # of the baseline, all seeds together
    after: int


@dataclass(frozen=True)
class Grouped:
    """Error rates of every system in groups of utterances; None where a group has no unit."""

    labels: list[str]
    utterances: list[int]
    rates: dict[str, list[float | None]]


def confusions(one: SetView, baseline: str, system: str) -> tuple[list[Confusion], list[Confusion]]:
    """Confusions that the system makes less often than the baseline, and those it makes more.

    Parameters
    ----------
    one : the set.
    baseline, system : names; all seeds count.
    """
    before, after = (_count(one, name) for name in (baseline, system))
    every = [Confusion(*pair, before[pair], after[pair]) for pair in {**before, **after}]
    every.sort(key=lambda found: (found.after - found.before, found.reference, found.found))
    fewer = [found for found in every if found.after < found.before]
    more = [found for found in reversed(every) if found.after > found.before]
    return fewer[:MOST_CONFUSIONS], more[:MOST_CONFUSIONS]


def by_length(one: SetView) -> Grouped:
    """By the units of the reference."""
    return _binned(
        one,
        [float(n) for n in _units(one)],
        lambda low, high: f"{low:g}–{high:g}" if low < high else f"{low:g}",
    )


def by_noise(one: SetView, levels: Sequence[float | None]) -> Grouped | None:
    """By a level in dB; None where fewer than half of the utterances have one.

    Parameters
    ----------
    one : the set.
    levels : of each utterance, dB, such as its signal over its noise; None where unknown.
    """
    if 2 * sum(level is not None for level in levels) < len(levels) or not levels:
        return None
    return _binned(one, levels, lambda low, high: f"{low:.1f} to {high:.1f} dB")


def by_speaker(one: SetView) -> Grouped | None:
    """By speaker, at most ``MOST_SPEAKERS``, those with most units; None where there is one."""
    if len(set(one.speakers)) < 2:
        return None
    units: Counter[str] = Counter()
    for speaker, n in zip(one.speakers, _units(one), strict=True):
        units[speaker] += n
    shown = sorted(speaker for speaker, _ in units.most_common(MOST_SPEAKERS))
    return _grouped(one, one.speakers, shown, shown)


def units_of(text: str, unit: str) -> list[str]:
    """What edits are counted in.

    Parameters
    ----------
    text : of a reference or a hypothesis.
    unit : ``words``; anything else is characters.
    """
    return text.split() if unit == "words" else list(text)


def _units(one: SetView) -> list[int]:
    return [len(units_of(text, one.unit)) for text in one.references]


def _count(one: SetView, system: str) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for run, found in one.runs.items():
        if run.system == system:
            for reference, (text, edits, errors) in zip(one.references, found, strict=True):
                if errors:
                    counts.update(_pairs(reference, text, edits, one.unit))
    return counts


def _pairs(reference: str, found: str, edits: str, unit: str) -> list[tuple[str, str]]:
    before, after = iter(units_of(reference, unit)), iter(units_of(found, unit))
    pairs = []
    for sign, count in EDIT.findall(edits):
        for _ in range(int(count)):
            pair = (
                _NOTHING if sign == "+" else next(before),
                _NOTHING if sign == "-" else next(after),
            )
            if sign != "=":
                pairs.append(pair)
    return pairs


def _binned(
    one: SetView, values: Sequence[float | None], named: Callable[[float, float], str]
) -> Grouped:
    """Groups of about as many utterances; equal values stay together."""
    known = np.array([value for value in values if value is not None])
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1), method="inverted_cdf"))
    inner = edges[1:-1]
    which = [None if value is None else int(np.searchsorted(inner, value)) for value in values]
    groups = sorted({bin for bin in which if bin is not None})
    labels = []
    for group in groups:
        of_group = [
            v for v, bin in zip(values, which, strict=True) if bin == group and v is not None
        ]
        low, high = min(of_group), max(of_group)
        labels.append(named(low, high))
    return _grouped(one, [str(bin) for bin in which], [str(group) for group in groups], labels)


def _grouped(
    one: SetView, which: Sequence[str], groups: Sequence[str], labels: list[str]
) -> Grouped:
    place = {group: i for i, group in enumerate(groups)}
    index = np.array([place.get(group, len(groups)) for group in which])

    def summed(values: Sequence[float]) -> np.ndarray:
        return np.bincount(index, np.asarray(values, dtype=float), len(groups) + 1)[:-1]

    units, rates = summed(_units(one)), {}
    for system in dict.fromkeys(run.system for run in one.runs):
        runs = [found for run, found in one.runs.items() if run.system == system]
        errors = np.sum([summed([wrong for _, _, wrong in found]) for found in runs], axis=0)
        rates[system] = [
            float(wrong / (n * len(runs))) if n else None
            for wrong, n in zip(errors, units, strict=True)
        ]
    return Grouped(labels, [int(n) for n in summed([1.0] * len(index))], rates)
