"""All systems, seeds and test sets of a recipe, scored together; a system is a row of the table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.data.record import altered_tables, has_language_tags, read_filtered
from distill_asr.errors import UserError, named
from distill_asr.io.tables import read_table
from distill_asr.scoring.bootstrap import (
    LEVEL,
    RESAMPLES,
    SEED,
    Reduction,
    reduction,
    relative_reduction,
)
from distill_asr.scoring.decoded import WORDS, altered_words
from distill_asr.scoring.table import SystemResult
from distill_asr.scoring.wer import (
    Counts,
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
    control: str | None = None  # another of the systems, which every gain must exceed as well
    repeats: Mapping[str, str] = field(default_factory=dict)  # trained again: name -> system
    noise_floor: float | None = None  # measured elsewhere; a share, 0.1 is 10 %

    def reference(self, test_set: str) -> Path:
        """Path of a test set's reference."""
        return self.dump / test_set / "text"

    def decoded(self, run: SystemRun) -> Path:
        """Directory of a run's hypotheses."""
        return self.exp / f"{run.system}_seed{run.seed}" / "decode" / run.test_set

    def runs(self) -> Iterator[SystemRun]:
        """Every system and repeat with every seed on every test set."""
        names = [*self.systems, *self.repeats]
        return (SystemRun(*key) for key in product(names, self.seeds, self.sets))

    def references(self) -> list[str]:
        """The systems that others are compared with: the baseline, and a control if given."""
        return [self.baseline, *([self.control] if self.control else [])]


@dataclass(frozen=True)
class Counted:
    """Edits by run and utterance, in the order of the reference; and what had no hypothesis.

    Parameters
    ----------
    edits : an utterance without hypothesis counts as deletions.
    missing : utterances without hypothesis, by run; only runs that have some.
    speakers : by test set, of each utterance in the order of the reference; sets with ``utt2spk``.
    """

    edits: dict[SystemRun, dict[str, Edits]]
    missing: dict[SystemRun, list[str]]
    speakers: dict[str, list[str]] = field(default_factory=dict)


def count_all(wanted: Comparison) -> Counted:
    """Count the edits of every run.

    Raises
    ------
    UserError : with all that is missing or unfit, of all files.
    """
    problems: list[str] = []
    references, hypotheses, speakers = {}, {}, {}
    for test_set in wanted.sets:
        path = wanted.reference(test_set)
        problems += altered_tables(wanted.dump / test_set)
        references[test_set] = _read(path, wanted, test_set, problems)
        if references[test_set] is not None:
            problems += reference_problems(references[test_set], path)
            if of_set := _speakers(wanted.dump / test_set, references[test_set], problems):
                speakers[test_set] = of_set
    for run in wanted.runs():
        path = wanted.decoded(run) / WORDS
        problems += altered_words(wanted.decoded(run))
        hypotheses[run] = _read(path, wanted, run.test_set, problems)
        if hypotheses[run] is not None and references[run.test_set] is not None:
            problems += hypothesis_problems(references[run.test_set], hypotheses[run], path)
            if not hypotheses[run]:
                problems.append(f"{path}: has no hypothesis; decode the set again")
    if problems:
        raise UserError(problems)
    edits, missing = {}, {}
    for run in wanted.runs():
        reference, found = references[run.test_set], hypotheses[run]
        if absent := [utterance for utterance in reference if utterance not in found]:
            missing[run] = absent
        edits[run] = count_edits(reference, dict.fromkeys(absent, "") | found)
    return Counted(edits, missing, speakers)


def missing_lines(wanted: Comparison, counted: Counted) -> list[str]:
    """List the utterances left out, a line for each set, and those without a hypothesis.

    Parameters
    ----------
    wanted : what to score.
    counted : its edits, as of ``count_all``.
    """
    filtered = {test_set: read_filtered(wanted.dump / test_set) for test_set in wanted.sets}
    left_out = [
        f"{wanted.dump / test_set}: `distill-asr prepare` left out {named(utterances)}, which "
        "are not scored; run it with --max-duration inf and --min-duration 0 for test sets"
        for test_set, utterances in filtered.items()
        if utterances
    ]
    return left_out + [
        f"{wanted.decoded(run) / 'text'}: no hypothesis for {named(absent)} of "
        f"{len(counted.edits[run])}; counted as deletions"
        for run, absent in counted.missing.items()
    ]


def compare_systems(wanted: Comparison, counted: Counted) -> list[SystemResult]:
    """Compare every system with the baseline and the control, on every test set.

    Parameters
    ----------
    wanted : what to score.
    counted : its edits, as of ``count_all``.
    """
    return [_result(wanted, counted, *key) for key in product(wanted.systems, wanted.sets)]


def noise_floors(wanted: Comparison, counted: Counted) -> dict[str, float]:
    """How much errors differ by chance alone, as a share, by test set; none where unmeasured.

    The largest relative difference between a training and its repeat (same seed; targets dumped
    anew, another order of loader workers), or the floor that was given, if that is larger.

    Parameters
    ----------
    wanted : names the repeats, and the floor that was given.
    counted : its edits, as of ``count_all``.
    """

    def words(name: str, seed: int, test_set: str) -> Counts:
        return total(counted.edits[SystemRun(name, seed, test_set)].values()).words

    given = [] if wanted.noise_floor is None else [wanted.noise_floor]
    floors = {test_set: [*given] for test_set in wanted.sets}
    for test_set, (again, system), seed in product(
        wanted.sets, wanted.repeats.items(), wanted.seeds
    ):
        one, other = (words(name, seed, test_set) for name in (system, again))
        sums = np.array([one.errors, one.reference, other.errors, other.reference])
        floors[test_set].append(abs(float(reduction(sums))))
    return {test_set: max(found) for test_set, found in floors.items() if found}


def run_figures(edits: dict[str, Edits], missing: list[str]) -> dict[str, Any]:
    """Figures of one run: totals, [hits, sub, ins, del] of every utterance, what is missing.

    Parameters
    ----------
    edits : by utterance.
    missing : utterances without a hypothesis.
    """
    utterances = {
        utterance: {"words": astuple(e.words), "characters": astuple(e.characters)}
        for utterance, e in edits.items()
    }
    return {
        **_figures(total(edits.values())),
        "without_hypothesis": missing,
        "utterances": utterances,
    }


def summary_figures(
    wanted: Comparison, results: list[SystemResult], floors: Mapping[str, float]
) -> dict[str, Any]:
    """Every figure of the table, unrounded, and how it was computed.

    Parameters
    ----------
    wanted : what was scored.
    results : rows of the table.
    floors : noise floor of each test set, a share.
    """
    units = ["seed", "speaker", "utterance"]
    return {
        "baseline": wanted.baseline,
        "control": wanted.control,
        "lowercase": wanted.lowercase,
        "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "seed": SEED, "units": units},
        "noise_floor": dict(floors),
        "results": [
            _result_figures(result, floors.get(result.test_set, 0.0)) for result in results
        ],
    }


def _speakers(folder: Path, reference: dict[str, str], problems: list[str]) -> list[str]:
    """Speaker of each reference; empty for a set without speakers."""
    path = folder / "utt2spk"
    if not path.is_file():
        return []
    try:
        table = read_table(path)
    except UserError as error:
        problems += error.problems
        return []
    if unknown := [utterance for utterance in reference if utterance not in table]:
        problems.append(f"{path}: no speaker for {named(unknown)}; add them, or remove the file")
        return []
    return [table[utterance] for utterance in reference]


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
    def edits(name: str) -> list[dict[str, Edits]]:
        return [counted.edits[SystemRun(name, seed, test_set)] for seed in wanted.seeds]

    def words(name: str) -> list[list[Counts]]:
        return [[one.words for one in run.values()] for run in edits(name)]

    speakers = counted.speakers.get(test_set, [])
    reductions = {
        other: relative_reduction(words(other), words(system), speakers)
        for other in wanted.references()
        if other != system
    }
    seeds = dict(zip(wanted.seeds, (total(run.values()) for run in edits(system)), strict=True))
    return SystemResult(system, test_set, seeds, reductions)


def _result_figures(result: SystemResult, floor: float) -> dict[str, Any]:
    (wer, wer_std), (cer, cer_std) = result.wer(), result.cer()
    return {
        "system": result.system,
        "set": result.test_set,
        "wer_mean": wer,
        "wer_std": wer_std,
        "cer_mean": cer,
        "cer_std": cer_std,
        "reductions": {
            other: _reduction_figures(one, floor) for other, one in result.reductions.items()
        },
        "pooled": _figures(result.pooled),
        "seeds": {seed: _figures(edits) for seed, edits in result.seeds.items()},
    }


def _reduction_figures(one: Reduction, floor: float) -> dict[str, Any]:
    needed = one.seeds_needed()
    return {**asdict(one), "claim": one.claims(floor), "seeds_needed": needed}


def _figures(edits: Edits) -> dict[str, Any]:
    return {
        "wer": edits.words.rate,
        "cer": edits.characters.rate,
        "words": asdict(edits.words),
        "characters": asdict(edits.characters),
    }
