"""Error rates by language: the system chosen on dev against the baseline, both on test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.data.record import altered_tables
from distill_asr.errors import UserError
from distill_asr.io.tables import read_table
from distill_asr.scoring.bootstrap import (
    LEVEL,
    RESAMPLES,
    SEED,
    Reduction,
    percentile_interval,
    reduction,
)
from distill_asr.scoring.systems import Comparison, Counted, count_all, missing_lines
from distill_asr.scoring.wer import Edits, total

_SAMPLING_RATE = 16000  # Hz, of prepared audio
_FEWEST = 5  # languages of which a trend is told
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
        """One of the fields above for a language.

        Parameters
        ----------
        name : of the field.
        language : code to put in.
        """
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
        """The decodings of one language.

        Parameters
        ----------
        language : its code.
        part : ``dev_set`` or ``test_set``.
        systems : names of experiments.
        """
        paths = (Path(self.layout.of(name, language)) for name in ("exp", "dump"))
        sets = [self.layout.of(part, language)]
        return Comparison(*paths, list(systems), self.seeds, sets, self.baseline)


@dataclass(frozen=True)
class LanguageResult:
    """One language, on the test set.

    Parameters
    ----------
    baseline, system : all seeds together.
    seeds : baseline and system of each seed; none and all count as one.
    """

    language: str
    hours: float  # of training audio
    chosen: str  # system, by dev
    dev: dict[str, float]  # WER of every candidate
    baseline: Edits
    system: Edits
    seeds: tuple[tuple[Edits, Edits], ...] = ()

    @property
    def reduction(self) -> float:
        """Relative reduction of the WER; 0 where neither makes an error."""
        before, after = self.baseline.words.rate, self.system.words.rate
        if before == 0:
            return 0.0 if after == 0 else -float("inf")
        return 1 - after / before


def choose(study: LanguageStudy) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """The candidate with the lowest dev WER over all seeds; of equal ones the first.

    The test sets are not read.

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
        language: {system: total(edits).words.rate for system, edits in systems.items()}
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
            *(total(counted[language][name]) for name in systems[language]),
            tuple(zip(*(counted[language][name] for name in systems[language]), strict=True)),
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

    The interval is over draws of languages and of seeds, crossed: a seed is drawn for all
    languages alike. It shows how much the mean depends on the languages that were taken. Chance
    within a language is part of the spread between languages.

    Parameters
    ----------
    results : of all languages, with the same seeds.
    resamples : draws.
    level : of the interval, such as 0.95.
    seed : same seed, same draws.
    """
    pairs = [one.seeds or ((one.baseline, one.system),) for one in results]
    table = np.array([[_errors_and_units(*pair) for pair in of_seeds] for of_seeds in pairs])
    languages, seeds = table.shape[:2]
    of_languages, of_seeds = np.random.default_rng(seed).spawn(2)
    drawn = of_languages.integers(languages, size=(resamples, languages))
    values = reduction(table.sum(1))
    times = of_seeds.multinomial(seeds, [1 / seeds] * seeds, size=resamples)
    with_seeds = reduction(np.einsum("rs,lsc->rlc", times, table))
    steps = [values[drawn].mean(1), np.take_along_axis(with_seeds, drawn, 1).mean(1)]
    units = [languages, seeds]
    value = float(values.mean())
    fixed = percentile_interval(value, steps[:1], units[:1], level)
    low, high = percentile_interval(value, steps, units, level) if seeds > 1 else fixed
    by_seed = tuple(float(one) for one in reduction(table).mean(0))
    return Reduction(value, low, high, by_seed, 0, fixed)


def trend(results: Sequence[LanguageResult]) -> tuple[float, float] | None:
    """Does more audio go with more gain? Spearman's rank correlation and its two-sided p-value.

    None of fewer than ``FEWEST`` languages, or where all have the same audio or gain.
    """
    from scipy.stats import spearmanr

    hours, gains = [one.hours for one in results], [one.reduction for one in results]
    if len(results) < _FEWEST or len(set(hours)) == 1 or len(set(gains)) == 1:
        return None
    found = spearmanr(hours, gains)
    return float(found.statistic), float(found.pvalue)


def improved(results: Sequence[LanguageResult]) -> int:
    """Languages whose WER is lower than the baseline's."""
    return sum(one.system.words.rate < one.baseline.words.rate for one in results)


def figures(study: LanguageStudy, results: Sequence[LanguageResult]) -> dict[str, Any]:
    """Every figure of the report, unrounded, and how it was computed."""
    along = trend(results)
    return {
        "baseline": study.baseline,
        "candidates": study.candidates,
        "seeds": study.seeds,
        "chosen": "together" if study.together else "by language",
        "bootstrap": {
            "resamples": RESAMPLES,
            "level": LEVEL,
            "seed": SEED,
            "units": ["seed", "language"],
        },
        "improved": improved(results),
        "mean_reduction": asdict(mean_reduction(results)),
        "trend": along and {"spearman": along[0], "p": along[1]},
        "languages": [_language_figures(one) for one in results],
    }


def _counted(
    study: LanguageStudy, part: str, systems: dict[str, Sequence[str]]
) -> dict[str, dict[str, list[Edits]]]:
    """Edits by language and system, one a seed."""
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


def _by_system(wanted: Comparison, counted: Counted) -> Iterator[tuple[str, list[Edits]]]:
    for system in wanted.systems:
        yield (
            system,
            [total(e.values()) for run, e in counted.edits.items() if run.system == system],
        )


def _errors_and_units(baseline: Edits, system: Edits) -> list[int]:
    words = (baseline.words, system.words)
    return [figure for one in words for figure in (one.errors, one.reference)]


def _hours(study: LanguageStudy) -> dict[str, float]:
    hours, problems = {}, []
    for language in study.languages:
        folder = Path(study.layout.of("dump", language)) / study.layout.of("train_set", language)
        try:
            problems += altered_tables(folder)
            samples = read_table(folder / "utt2num_samples").values()
        except UserError as error:
            problems += error.problems
            continue
        hours[language] = sum(map(int, samples)) / _SAMPLING_RATE / 3600
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
