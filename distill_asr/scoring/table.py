"""The figures of an experiment, and the table that shows them."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from distill_asr.scoring.bootstrap import (
    LEVEL,
    MOST_SEEDS,
    RESAMPLES,
    SEEDS_FOR_CLAIM,
    Reduction,
)
from distill_asr.scoring.wer import Edits

_NONE = "–"


@dataclass(frozen=True)
class SystemResult:
    """One system on one test set: an `Edits` a seed, and its reductions.

    Parameters
    ----------
    reductions : by the system compared with; none against itself.
    """

    system: str
    test_set: str
    seeds: dict[int, Edits]
    reductions: dict[str, Reduction] = field(default_factory=dict)

    @property
    def pooled(self) -> Edits:
        """Edits of all seeds together."""
        return sum(self.seeds.values(), Edits())

    def wer(self) -> tuple[float, float | None]:
        """Mean WER over seeds and its sample standard deviation (None with a single seed)."""
        return _mean_and_deviation([edits.words.rate for edits in self.seeds.values()])

    def cer(self) -> tuple[float, float | None]:
        """Mean CER over seeds and its sample standard deviation (None with a single seed)."""
        return _mean_and_deviation([edits.characters.rate for edits in self.seeds.values()])


def systems_table(
    results: Sequence[SystemResult],
    references: Sequence[str],
    floors: Mapping[str, float] | None = None,
) -> str:
    """One row a system, one group of columns a test set; rates in percent.

    Systems and test sets keep the order in which they first occur. A reduction is bold where it is
    a claim (`Reduction.claims`).

    Parameters
    ----------
    results : one for each system and test set.
    references : systems compared with: the baseline, the control.
    floors : noise floor of each test set, a share.
    """
    systems = list(dict.fromkeys(result.system for result in results))
    sets = list(dict.fromkeys(result.test_set for result in results))
    cell = {(result.system, result.test_set): result for result in results}
    header = ["System", "Seeds"]
    for name in sets:
        header += [f"{name} WER", "each seed", "sub / ins / del", "CER"]
        header += [f"fewer errors than {reference}" for reference in references]
    rows = []
    for system in systems:
        row = [system, str(len(cell[system, sets[0]].seeds))]
        for name in sets:
            row += _group(cell[system, name], references, (floors or {}).get(name, 0.0))
        rows.append(row)
    return markdown_rows(header, rows)


def table_notes(results: Sequence[SystemResult], floors: Mapping[str, float]) -> list[str]:
    """What the intervals cover, and what is missing for a claim; a paragraph each.

    Parameters
    ----------
    results : rows of the table.
    floors : noise floor of each test set, a share.
    """
    compared = [result for result in results if result.reductions]
    notes = [_resampled(compared)] if compared else []
    if any(len(result.seeds) == 1 for result in compared):
        notes.append(
            "**One seed supports no claim.** The intervals cover speakers and utterances only; "
            "another seed can differ by more."
        )
    notes += [
        f"Noise floor of {test_set}: {percent(floor)} % of the errors change when the same "
        "training is repeated; no difference below it is bold."
        for test_set, floor in floors.items()
    ]
    needs = [
        f"{result.system} against {reference} on {result.test_set}: {_needed(one)}"
        for result in compared
        for reference, one in result.reductions.items()
        if not one.claims(floors.get(result.test_set, 0.0))
    ]
    if needs:
        notes.append(
            f"Gains that are not bold are not claims. A claim needs {SEEDS_FOR_CLAIM} seeds, an "
            "interval without 0, and a difference above the noise floor, if one is given. Number "
            "of "
            f"seeds needed if further seeds vary as these do: {'; '.join(needs)}."
        )
    return notes


def markdown_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)
) -> str:
    """Lines of a markdown table.

    Parameters
    ----------
    header : names of the columns.
    rows : as many cells each.
    left : columns, from 0, that are aligned to the left; others are to the right.
    """
    align = [":--" if column in left else "--:" for column in range(len(header))]
    return "".join("| " + " | ".join(row) + " |\n" for row in [header, align, *rows])


def _resampled(compared: Sequence[SystemResult]) -> str:
    several = any(len(result.seeds) > 1 for result in compared)
    speakers = {
        result.test_set: one.speakers for result in compared for one in result.reductions.values()
    }
    by_set = [f"{n} speakers in {name}" for name, n in speakers.items() if n]
    without = [name for name, n in speakers.items() if not n]
    levels = ["seeds"] * several
    levels += [f"then speakers ({', '.join(by_set)})"] * bool(by_set) + ["then utterances"]
    alone = f"; in {', '.join(without)} utterances without speakers" if by_set and without else ""
    return (
        f"Intervals of {LEVEL:.0%}: hierarchical bootstrap, {RESAMPLES:,} resamples of "
        f"{', '.join(levels).removeprefix('then ')}{alone}; paired by seed and utterance, "
        "widened for few seeds and speakers as Student's t requires."
    )


def _needed(one: Reduction) -> str:
    seeds = one.seeds_needed()
    if seeds is None:
        return f"more than {MOST_SEEDS}, or a larger test set"
    if seeds <= len(one.by_seed):
        return "inside the noise floor"
    return f"at least {seeds}" if len(one.by_seed) == 1 else f"about {seeds}"


def _group(result: SystemResult, references: Sequence[str], floor: float) -> list[str]:
    words = result.pooled.words
    kinds = (words.substitutions, words.insertions, words.deletions)
    return [
        _rate(*result.wer()),
        ", ".join(f"{100 * edits.words.rate:.2f}" for edits in result.seeds.values()),
        " / ".join(f"{100 * count / words.reference:.2f}" for count in kinds),
        _rate(*result.cer()),
        *(_reduction(result.reductions.get(reference), floor) for reference in references),
    ]


def _rate(mean: float, deviation: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _reduction(one: Reduction | None, floor: float) -> str:
    if one is None or not math.isfinite(one.value):
        return _NONE
    value, low, high = (percent(x) for x in (one.value, one.low, one.high))
    mark = "**" if one.claims(floor) else ""
    return f"{mark}{value} %{mark} [{low}, {high}]"


def percent(share: float) -> str:
    """A share in percent with one decimal; minus infinity as such."""
    # "or 0.0" drops the sign of a negative zero
    return f"{round(100 * share, 1) or 0.0:.1f}" if math.isfinite(share) else "−∞"


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
