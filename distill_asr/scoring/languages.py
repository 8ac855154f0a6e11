"""Error rates by language: the system chosen on dev against the baseline, both on test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.tables import read_table
from distill_asr.scoring.bootstrap import LEVEL, RESAMPLES, SEED, Reduction
from distill_asr.scoring.systems import Comparison, Counted, count_all, missing_lines
from distill_asr.scoring.wer import Edits, total

SAMPLING_RATE = 16000  # Hz, of prepared audio
FEWEST = 5  # languages of which a trend is told
LANGUAGE = "{language}"  # stands for a language's code in paths and names of sets


@dataclass(frozen=True)
class Layout:
    """Where the experiments are; ``{language}`` in any of these stands for a language's code."""

    exp: str = "langs/{language}/exp"
    dump: str = "langs/{language}/dump"
    train_set: str = "train"
    dev_set: str = "dev"
    test_set: str = "test"

    def of(self, name: str, language: str) -> str:
        """One of the fields above for a language."""
        return getattr(self, name).replace(LANGUAGE, language)


@dataclass(frozen=True)
class LanguageStudy:
    """What to compare: systems are names of experiments, ``<exp>/<system>_seed<seed>``."""

    languages: list[str]
    baseline: str
    candidates: list[str]
    seeds: list[int]
    layout: Layout
    together: bool = False  # choose one system for all languages

    def comparison(self, language: str, part: str, systems: Sequence[str]) -> Comparison:
        """Decodings of one language's ``dev_set`` or ``test_set``."""
        paths = (Path(self.layout.of(name, language)) for name in ("exp", "dump"))
        sets = [self.layout.of(part, language)]
        return Comparison(*paths, list(systems), self.seeds, sets, self.baseline)


@dataclass(frozen=True)
class LanguageResult:
    """One language. ``edits``: of all seeds together, on the test set."""

    language: str
    hours: float  # of training audio
    chosen: str  # system, by dev
    dev: dict[str, float]  # WER of every candidate
    baseline: Edits
    system: Edits

    @property
    def reduction(self) -> float:
        """Relative reduction of the WER; 0 where neither makes an error."""
        before, after = self.baseline.words.rate, self.system.words.rate
        if before == 0:
            return 0.0 if after == 0 else -float("inf")
        return 1 - after / before


def choose(study: LanguageStudy) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """The candidate with the lowest dev WER over all seeds; of equal ones the first.

    Reads nothing of the test sets.

    Returns
    -------
    System by language, and the WER of every candidate by language. With ``together`` the system
    is that of the lowest mean over languages.

    Raises
    ------
    UserError : with all that is missing or unfit.
    """
    counted = _counted(study, "dev_set", dict.fromkeys(study.languages, study.candidates))
    rates = {
        language: {system: edits.words.rate for system, edits in systems.items()}
        for language, systems in counted.items()
    }
    if study.together:
        means = {s: np.mean([one[s] for one in rates.values()]) for s in study.candidates}
        return dict.fromkeys(study.languages, min(means, key=means.get)), rates
    return {language: min(one, key=one.get) for language, one in rates.items()}, rates


def compare_languages(study: LanguageStudy) -> list[LanguageResult]:
    """Choose on dev, score on test; languages sorted by hours of training audio.

    Raises
    ------
    UserError : with all that is missing or unfit.
    """
    chosen, rates = choose(study)
    systems = {language: [study.baseline, system] for language, system in chosen.items()}
    counted = _counted(study, "test_set", systems)
    hours = _hours(study)
    results = [
        LanguageResult(
            language,
            hours[language],
            chosen[language],
            rates[language],
            counted[language][study.baseline],
            counted[language][chosen[language]],
        )
        for language in study.languages
    ]
    return sorted(results, key=lambda one: (one.hours, one.language))


def mean_reduction(
    results: Sequence[LanguageResult],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Reduction:
    """Mean relative reduction of the WER, each language counting once.

    The percentile interval is over draws of languages with replacement, so it says how much the
    mean depends on which languages were taken.
    """
    values = np.array([one.reduction for one in results])
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return Reduction(float(values.mean()), float(low), float(high))


def trend(results: Sequence[LanguageResult]) -> tuple[float, float] | None:
    """Does more audio go with more gain? Spearman's rank correlation and its two-sided p-value.

    None of fewer than ``FEWEST`` languages, or where all have the same audio or gain.
    """
    from scipy.stats import spearmanr

    hours, gains = [one.hours for one in results], [one.reduction for one in results]
    if len(results) < FEWEST or len(set(hours)) == 1 or len(set(gains)) == 1:
        return None
    found = spearmanr(hours, gains)
    return float(found.statistic), float(found.pvalue)


def improved(results: Sequence[LanguageResult]) -> int:
    """Languages whose WER is lower than the baseline's."""
    return sum(one.system.words.rate < one.baseline.words.rate for one in results)


def figures(study: LanguageStudy, results: Sequence[LanguageResult]) -> dict[str, Any]:
    """Every figure of the report, unrounded, and how it came about."""
    along = trend(results)
    return {
        "baseline": study.baseline,
        "candidates": study.candidates,
        "seeds": study.seeds,
        "chosen": "together" if study.together else "by language",
        "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "seed": SEED, "unit": "language"},
        "improved": improved(results),
        "mean_reduction": asdict(mean_reduction(results)),
        "trend": along and {"spearman": along[0], "p": along[1]},
        "languages": [_language_figures(one) for one in results],
    }


def _counted(
    study: LanguageStudy, part: str, systems: dict[str, Sequence[str]]
) -> dict[str, dict[str, Edits]]:
    """Edits by language and system, all seeds together."""
    counted, problems = {}, []
    for language in study.languages:
        wanted = study.comparison(language, part, systems[language])
        try:
            runs = count_all(wanted)
        except UserError as error:
            problems += error.problems
            continue
        for line in missing_lines(wanted, runs):
            print(f"warning: {line}", file=sys.stderr)
        counted[language] = dict(_by_system(wanted, runs))
    if problems:
        raise UserError(problems)
    return counted


def _by_system(wanted: Comparison, counted: Counted) -> Iterator[tuple[str, Edits]]:
    for system in wanted.systems:
        of_seeds = [total(e.values()) for run, e in counted.edits.items() if run.system == system]
        yield system, total(of_seeds)


def _hours(study: LanguageStudy) -> dict[str, float]:
    hours, problems = {}, []
    for language in study.languages:
        folder = Path(study.layout.of("dump", language)) / study.layout.of("train_set", language)
        try:
            samples = read_table(folder / "utt2num_samples").values()
        except UserError as error:
            problems += error.problems
            continue
        hours[language] = sum(map(int, samples)) / SAMPLING_RATE / 3600
    if problems:
        raise UserError(problems)
    return hours


def _language_figures(one: LanguageResult) -> dict[str, Any]:
    def rates(edits: Edits) -> dict[str, Any]:
        return {
            "wer": edits.words.rate,
            "cer": edits.characters.rate,
            "words": asdict(edits.words),
            "characters": asdict(edits.characters),
        }

    return {
        "language": one.language,
        "hours": one.hours,
        "chosen": one.chosen,
        "dev_wer": one.dev,
        "reduction": one.reduction,
        "baseline": rates(one.baseline),
        "system": rates(one.system),
    }
