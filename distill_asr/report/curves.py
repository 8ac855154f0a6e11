"""A training's curves from ``train.log``: losses and errors by epoch, and its duration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from distill_asr.train.progress import RESULTS, parse_results

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \([^)]*\) \w+: (.*)")
LASTED = re.compile(r"\btime=([^=]*?), total_count")
DURATION = re.compile(r"([\d.]+) (hour|minute|second)")
UNIT = {"hour": 3600, "minute": 60, "second": 1}
PARAMETERS = re.compile(r"Total Number of model parameters: ([\d.]+) ?(\w?)")
_SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
COMMAND = re.compile(r"\S*python\S* \S+ (train .*)")
TORCH = re.compile(r"pytorch\.version=([^,]+)")
_SHOWN = re.compile(r"loss|loss_(?!scale).+|distill/.+|cer.*|wer.*|acc.*")


@dataclass
class Curves:
    """One training.

    Parameters
    ----------
    terms : by name, then ``train`` or ``valid``: epoch -> value.
    seconds : of all epochs.
    """

    terms: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    parameters: float | None = None
    torch: str | None = None
    command: str | None = None


def read_curves(log: Path) -> Curves:
    """Read a training's log; an epoch that was done again counts as the last time."""
    curves = Curves()
    for message in _messages(log):
        if found := RESULTS.match(message):
            _add(curves, int(found[1]), found[2])
        elif found := PARAMETERS.search(message):
            curves.parameters = float(found[1]) * _SCALE.get(found[2], math.nan)
        elif found := TORCH.search(message):
            curves.torch = found[1]
        elif found := COMMAND.match(message):
            curves.command = f"distill-asr {found[1]}"
    return curves


def _messages(log: Path) -> Iterator[str]:
    if not log.is_file():
        return
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = LINE.match(line)
            yield found[1] if found else line.strip()


def _add(curves: Curves, epoch: int, results: str) -> None:
    for part, numbers in parse_results(results).items():
        for name, value in numbers.items():
            if _SHOWN.fullmatch(name) and math.isfinite(value):
                curves.terms.setdefault(name, {}).setdefault(part, {})[epoch] = value
    curves.seconds[epoch] = sum(
        float(number) * UNIT[unit]
        for text in LASTED.findall(results)
        for number, unit in DURATION.findall(text)
    )
