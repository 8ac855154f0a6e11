"""The figures of an experiment, and the table that shows them."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from distill_asr.scoring.bootstrap import Reduction
from distill_asr.scoring.wer import Edits

NONE = "–"


@dataclass(frozen=True)
class SystemResult:
    """One system on one test set: an `Edits` a seed, and the reduction against the baseline."""

    system: str
    test_set: str
    seeds: dict[int, Edits]
    reduction: Reduction | None  # None for the baseline itself

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


def systems_table(results: Sequence[SystemResult], baseline: str) -> str:
    """One row a system, one group of columns a test set; rates in percent.

    Systems and test sets keep the order in which they first occur.
    """
    systems = list(dict.fromkeys(result.system for result in results))
    sets = list(dict.fromkeys(result.test_set for result in results))
    cell = {(result.system, result.test_set): result for result in results}
    header = ["System", "Seeds"]
    for name in sets:
        header += [f"{name} WER", "sub / ins / del", "CER", f"fewer errors than {baseline}"]
    rows = []
    for system in systems:
        row = [system, str(len(cell[system, sets[0]].seeds))]
        for name in sets:
            row += _group(cell[system, name])
        rows.append(row)
    return markdown_rows(header, rows)


def markdown_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)
) -> str:
    """Lines of a markdown table; columns are aligned to the right but for those in ``left``."""
    align = [":--" if column in left else "--:" for column in range(len(header))]
    return "".join("| " + " | ".join(row) + " |\n" for row in [header, align, *rows])


def _group(result: SystemResult) -> list[str]:
    words = result.pooled.words
    kinds = (words.substitutions, words.insertions, words.deletions)
    return [
        _rate(*result.wer()),
        " / ".join(f"{100 * count / words.reference:.2f}" for count in kinds),
        _rate(*result.cer()),
        _reduction(result.reduction),
    ]


def _rate(mean: float, deviation: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _reduction(reduction: Reduction | None) -> str:
    if reduction is None or not math.isfinite(reduction.value):
        return NONE
    value, low, high = (percent(x) for x in (reduction.value, reduction.low, reduction.high))
    return f"{value} % [{low}, {high}]"


def percent(share: float) -> str:
    """A share in percent with one decimal; minus infinity as such."""
    # "or 0.0" drops the sign of a negative zero
    return f"{round(100 * share, 1) or 0.0:.1f}" if math.isfinite(share) else "−∞"


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
