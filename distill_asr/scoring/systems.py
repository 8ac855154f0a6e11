"""All systems, seeds and test sets of a recipe, scored together; a system is a row of the table."""

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import has_language_tags
from distill_asr.errors import UserError, named
from distill_asr.scoring.bootstrap import LEVEL, RESAMPLES, SEED, pool, relative_reduction
from distill_asr.scoring.table import SystemResult
from distill_asr.scoring.wer import (
    Edits,
    count_edits,
    hypothesis_problems,
    read_text,
    reference_problems,
    total,
)


@dataclass(frozen=True, order=True)
class SystemRun:
    """One decoding: a system, trained with a seed, on a test set."""

    system: str
    seed: int
    test_set: str


@dataclass(frozen=True)
class Comparison:
    """What to score: ``exp/<system>_seed<seed>/decode/<set>/text`` against ``dump/<set>/text``."""

    exp: Path
    dump: Path
    systems: list[str]
    seeds: list[int]
    sets: list[str]
    baseline: str  # one of the systems
    lowercase: bool = False

    def reference(self, test_set: str) -> Path:
        """Path of a test set's reference."""
        return self.dump / test_set / "text"

    def decoded(self, run: SystemRun) -> Path:
        """Directory of a run's hypotheses."""
        return self.exp / f"{run.system}_seed{run.seed}" / "decode" / run.test_set

    def runs(self) -> Iterator[SystemRun]:
        """Every system with every seed on every test set."""
        return (SystemRun(*key) for key in product(self.systems, self.seeds, self.sets))


@dataclass(frozen=True)
class Counted:
    """Edits by run and utterance, in the order of the reference; and what had no hypothesis.

    Parameters
    ----------
    edits : an utterance without hypothesis counts as deletions.
    missing : utterances without hypothesis, by run; only runs that have some.
    """

    edits: dict[SystemRun, dict[str, Edits]]
    missing: dict[SystemRun, list[str]]


def count_all(wanted: Comparison) -> Counted:
    """Count the edits of every run.

    Raises
    ------
    UserError : with all that is missing or unfit, of all files.
    """
    problems: list[str] = []
    references, hypotheses = {}, {}
    for test_set in wanted.sets:
        path = wanted.reference(test_set)
        references[test_set] = _read(path, wanted, test_set, problems)
        if references[test_set] is not None:
            problems += reference_problems(references[test_set], path)
    for run in wanted.runs():
        path = wanted.decoded(run) / "text"
        hypotheses[run] = _read(path, wanted, run.test_set, problems)
        if hypotheses[run] is not None and references[run.test_set] is not None:
            problems += hypothesis_problems(references[run.test_set], hypotheses[run], path)
            if not hypotheses[run]:
                problems.append(f"{path}: has no hypothesis at all; decode the set again")
    if problems:
        raise UserError(problems)
    edits, missing = {}, {}
    for run in wanted.runs():
        reference, found = references[run.test_set], hypotheses[run]
        if absent := [utterance for utterance in reference if utterance not in found]:
            missing[run] = absent
        edits[run] = count_edits(reference, dict.fromkeys(absent, "") | found)
    return Counted(edits, missing)


def missing_lines(wanted: Comparison, counted: Counted) -> list[str]:
    """Say which references have no hypothesis, a line a text."""
    return [
        f"{wanted.decoded(run) / 'text'}: no hypothesis for {named(absent)} of "
        f"{len(counted.edits[run])}; counted as deletions"
        for run, absent in counted.missing.items()
    ]


def compare_systems(wanted: Comparison, counted: Counted) -> list[SystemResult]:
    """Hold every system against the baseline, on every test set."""
    return [_result(wanted, counted, *key) for key in product(wanted.systems, wanted.sets)]


def run_figures(edits: dict[str, Edits], missing: list[str]) -> dict[str, Any]:
    """Figures of one run: totals, [hits, sub, ins, del] of every utterance, what is missing."""
    utterances = {
        utterance: {"words": astuple(e.words), "characters": astuple(e.characters)}
        for utterance, e in edits.items()
    }
    return {
        **_figures(total(edits.values())),
        "without_hypothesis": missing,
        "utterances": utterances,
    }


def summary_figures(wanted: Comparison, results: list[SystemResult]) -> dict[str, Any]:
    """Every figure of the table, unrounded, and how it came about."""
    bootstrap = {"resamples": RESAMPLES, "level": LEVEL, "seed": SEED, "unit": "utterance"}
    return {
        "baseline": wanted.baseline,
        "lowercase": wanted.lowercase,
        "bootstrap": bootstrap,
        "results": [_result_figures(result) for result in results],
    }


def _read(
    path: Path, wanted: Comparison, test_set: str, problems: list[str]
) -> dict[str, str] | None:
    try:
        tagged = has_language_tags(wanted.dump / test_set)
        return read_text(path, wanted.lowercase, tagged)
    except UserError as error:
        problems += error.problems
        return None


def _result(wanted: Comparison, counted: Counted, system: str, test_set: str) -> SystemResult:
    def pooled_words(name: str) -> list:
        runs = [counted.edits[SystemRun(name, seed, test_set)].values() for seed in wanted.seeds]
        return pool([[edits.words for edits in run] for run in runs])

    reduction = None
    if system != wanted.baseline:
        reduction = relative_reduction(pooled_words(wanted.baseline), pooled_words(system))
    seeds = {
        seed: total(counted.edits[SystemRun(system, seed, test_set)].values())
        for seed in wanted.seeds
    }
    return SystemResult(system, test_set, seeds, reduction)


def _result_figures(result: SystemResult) -> dict[str, Any]:
    (wer, wer_std), (cer, cer_std) = result.wer(), result.cer()
    return {
        "system": result.system,
        "set": result.test_set,
        "wer_mean": wer,
        "wer_std": wer_std,
        "cer_mean": cer,
        "cer_std": cer_std,
        "reduction": asdict(result.reduction) if result.reduction else None,
        "pooled": _figures(result.pooled),
        "seeds": {seed: _figures(edits) for seed, edits in result.seeds.items()},
    }


def _figures(edits: Edits) -> dict[str, Any]:
    return {
        "wer": edits.words.rate,
        "cer": edits.characters.rate,
        "words": asdict(edits.words),
        "characters": asdict(edits.characters),
    }
