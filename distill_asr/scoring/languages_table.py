"""The report as a markdown table."""

from collections.abc import Sequence

from distill_asr.scoring.bootstrap import LEVEL, RESAMPLES
from distill_asr.scoring.languages import (
    LanguageResult,
    LanguageStudy,
    improved,
    mean_reduction,
    trend,
)
from distill_asr.scoring.table import markdown_rows, percent

_HEADER = (
    "Language", "Training audio", "WER, {baseline}", "WER, distilled", "fewer errors",
    "CER, {baseline}", "CER, distilled", "chosen on dev",
)  # fmt: skip


def languages_markdown(study: LanguageStudy, results: Sequence[LanguageResult]) -> str:
    """One row a language, the least audio first, and what they come to together."""
    header = [name.format(baseline=study.baseline) for name in _HEADER]
    table = markdown_rows(header, [_row(one) for one in results], left=(0, len(header) - 1))
    return f"{table}\n{summary(study, results)}\n"


def summary(study: LanguageStudy, results: Sequence[LanguageResult]) -> str:
    """How many languages gain, how much on average, and what the figures are."""
    mean = mean_reduction(results)
    value, low, high = (percent(x) for x in (mean.value, mean.low, mean.high))
    choice = "one for all languages" if study.together else "for each language"
    along = trend(results)
    several = len(study.seeds) > 1
    drawn = "languages and seeds" if several else "languages; one seed, which supports no claim"
    told = along and f" Gain against audio: Spearman's rho {along[0]:.2f}, p {along[1]:.2f}."
    return (
        f"Lower WER than {study.baseline} in {improved(results)} of {len(results)} languages; mean "
        f"relative reduction {value} % [{low}, {high}] ({LEVEL:.0%} interval, {RESAMPLES:,} draws "
        f"of {drawn}). Percent; seeds {', '.join(map(str, study.seeds))} together. Distilled: of "
        f"{', '.join(study.candidates)} the one with the lowest WER on dev, {choice}."
        f"{told or ''}"
    )


def _row(one: LanguageResult) -> list[str]:
    return [
        one.language,
        _duration(one.hours),
        f"{100 * one.baseline.words.rate:.2f}",
        f"{100 * one.system.words.rate:.2f}",
        f"{percent(one.reduction)} %",
        f"{100 * one.baseline.characters.rate:.2f}",
        f"{100 * one.system.characters.rate:.2f}",
        one.chosen,
    ]


def _duration(hours: float) -> str:
    """Hours from one on, minutes below."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
