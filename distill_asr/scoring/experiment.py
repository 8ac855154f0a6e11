"""All systems, seeds and test sets of an experiment directory, scored together."""

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.scoring.bootstrap import LEVEL, RESAMPLES, SEED, pool, relative_reduction
from distill_asr.scoring.table import Result
from distill_asr.scoring.wer import (
    Edits,
    count_edits,
    hypothesis_problems,
    read_text,
    reference_problems,
    total,
)


@dataclass(frozen=True, order=True)
class Run:
    """One decoding: a system, trained with a seed, on a test set."""

    system: str
    seed: int
    test_set: str


@dataclass(frozen=True)
class Plan:
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

    def decoded(self, run: Run) -> Path:
        """Directory of a run's hypotheses."""
        return self.exp / f"{run.system}_seed{run.seed}" / "decode" / run.test_set

    def runs(self) -> Iterator[Run]:
        """Every system with every seed on every test set."""
        return (Run(*key) for key in product(self.systems, self.seeds, self.sets))


Counted = dict[Run, dict[str, Edits]]  # run -> utterance -> edits, in the order of the reference


def count_all(plan: Plan) -> Counted:
    """Count the edits of every run.

    Raises
    ------
    UserError : with all that is missing or unfit, of all files.
    """
    problems: list[str] = []
    references, hypotheses = {}, {}
    for test_set in plan.sets:
        path = plan.reference(test_set)
        references[test_set] = _read(path, plan.lowercase, problems)
        if references[test_set] is not None:
            problems += reference_problems(references[test_set], path)
    for run in plan.runs():
        path = plan.decoded(run) / "text"
        hypotheses[run] = _read(path, plan.lowercase, problems)
        if hypotheses[run] is not None and references[run.test_set] is not None:
            problems += hypothesis_problems(references[run.test_set], hypotheses[run], path)
    if problems:
        raise UserError(problems)
    return {run: count_edits(references[run.test_set], hypotheses[run]) for run in plan.runs()}


def compare(plan: Plan, counted: Counted) -> list[Result]:
    """Hold every system against the baseline, on every test set."""
    return [_result(plan, counted, *key) for key in product(plan.systems, plan.sets)]


def run_figures(edits: dict[str, Edits]) -> dict[str, Any]:
    """Figures of one run: totals, and [hits, sub, ins, del] of every utterance."""
    utterances = {
        utterance: {"words": astuple(e.words), "characters": astuple(e.characters)}
        for utterance, e in edits.items()
    }
    return {**_figures(total(edits.values())), "utterances": utterances}


def summary_figures(plan: Plan, results: list[Result]) -> dict[str, Any]:
    """Every figure of the table, unrounded, and how it came about."""
    bootstrap = {"resamples": RESAMPLES, "level": LEVEL, "seed": SEED, "unit": "utterance"}
    return {
        "baseline": plan.baseline,
        "lowercase": plan.lowercase,
        "bootstrap": bootstrap,
        "results": [_result_figures(result) for result in results],
    }


def _read(path: Path, lowercase: bool, problems: list[str]) -> dict[str, str] | None:
    try:
        return read_text(path, lowercase)
    except UserError as error:
        problems += error.problems
        return None


def _result(plan: Plan, counted: Counted, system: str, test_set: str) -> Result:
    def pooled_words(name: str) -> list:
        runs = [counted[Run(name, seed, test_set)].values() for seed in plan.seeds]
        return pool([[edits.words for edits in run] for run in runs])

    reduction = None
    if system != plan.baseline:
        reduction = relative_reduction(pooled_words(plan.baseline), pooled_words(system))
    seeds = {seed: total(counted[Run(system, seed, test_set)].values()) for seed in plan.seeds}
    return Result(system, test_set, seeds, reduction)


def _result_figures(result: Result) -> dict[str, Any]:
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
