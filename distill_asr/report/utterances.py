"""The utterances of the test sets as the page needs them: words, edits, timing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer

from distill_asr.data.record import has_language_tags
from distill_asr.errors import Problems, UserError
from distill_asr.io.tables import collect_table
from distill_asr.scoring.systems import Comparison, Counted, SystemRun
from distill_asr.scoring.wer import read_text

SIGNS = {"equal": "=", "substitute": "~", "delete": "-", "insert": "+"}
MOST_TIMED = 20_000  # decoded utterances whose tokens' times are kept; they are most of the page
SAMPLING_RATE = 16000  # Hz, of prepared audio
FIRST_UNSPACED = 0x2E80  # where the scripts of East Asia begin


@dataclass(frozen=True)
class SetView:
    """One test set; the lists are in the order of the reference.

    Parameters
    ----------
    unit : ``words``, or ``characters`` of scripts that write none.
    runs : by ``system`` and seed: what was recognised and its edits, see ``edit_string``.
    timing : by run: tokens of each utterance and their times in ms; runs that recorded them.
    """

    name: str
    unit: str
    utterances: list[str]
    references: list[str]
    speakers: list[str]
    seconds: list[float | None]
    snr: list[float | None]
    runs: dict[SystemRun, list[tuple[str, str, int]]]
    timing: dict[SystemRun, list[tuple[list[str], list[int]]]]


def read_sets(wanted: Comparison, counted: Counted, notes: list[str]) -> list[SetView]:
    """Read what ``count_all`` has counted once more, with all that the page shows of it.

    Parameters
    ----------
    wanted : what to compare.
    counted : its edits.
    notes : gets a line for each set whose times of tokens are left out.

    Raises
    ------
    UserError : ``utt2num_samples`` or ``utt2snr`` of a set is damaged.
    """
    return [_read_set(wanted, counted, name, notes) for name in wanted.sets]


def unit_of(references: Sequence[str]) -> str:
    """Whether errors are counted in words, or only in characters."""
    unspaced = sum(" " not in text and max(map(ord, text)) > FIRST_UNSPACED for text in references)
    return "characters" if 2 * unspaced > len(references) else "words"


def edit_strings(references: Sequence[str], found: Sequence[str], unit: str) -> list[str]:
    """Edits of each utterance, as ``=3~1-1+2``: equal, substituted, deleted, inserted units.

    Parameters
    ----------
    references, found : texts in the same order.
    unit : ``words``; anything else is characters.
    """
    process = jiwer.process_words if unit == "words" else jiwer.process_characters
    alignments = process(list(references), list(found)).alignments
    return ["".join(_edit(chunk) for chunk in one) for one in alignments]


def _edit(chunk: jiwer.AlignmentChunk) -> str:
    reference = chunk.ref_end_idx - chunk.ref_start_idx
    return f"{SIGNS[chunk.type]}{max(reference, chunk.hyp_end_idx - chunk.hyp_start_idx)}"


def _read_set(wanted: Comparison, counted: Counted, name: str, notes: list[str]) -> SetView:
    folder = wanted.dump / name
    tagged = has_language_tags(folder)
    reference = read_text(wanted.reference(name), wanted.lowercase, tagged)
    utterances, texts = list(reference), list(reference.values())
    unit = unit_of(texts)
    runs, timing = {}, {}
    asked = [run for run in wanted.runs() if run.test_set == name and run.system in wanted.systems]
    timed = len(utterances) * len(asked) <= MOST_TIMED
    for run in asked:
        decoded = wanted.decoded(run)
        found = read_text(decoded / "text", wanted.lowercase, tagged)
        heard = [found.get(utterance, "") for utterance in utterances]
        edits = edit_strings(texts, heard, unit)
        errors = [
            (one.words if unit == "words" else one.characters).errors
            for one in counted.edits[run].values()
        ]
        runs[run] = list(zip(heard, edits, errors, strict=True))
        if timed and (times := _timing(decoded / "nbest.jsonl", utterances)):
            timing[run] = times
    if not timed:
        notes.append(f"{name}: there are so many utterances that the times of tokens are left out.")
    samples = _numbers(folder / "utt2num_samples")
    snr = _numbers(folder / "utt2snr")
    return SetView(
        name,
        unit,
        utterances,
        texts,
        counted.speakers.get(name, [""] * len(utterances)),
        [_divided(samples.get(utterance), SAMPLING_RATE) for utterance in utterances],
        [_divided(snr.get(utterance), 1) for utterance in utterances],
        runs,
        timing,
    )


def most_changed(one: SetView, baseline: str, system: str, count: int) -> list[int]:
    """Utterances whose errors a system changes most, half of them for the better, in their order.

    Of the baseline itself: those with most errors.

    Parameters
    ----------
    one : the set.
    baseline, system : names; the first seed counts.
    count : how many at most.
    """
    runs = {run.system: found for run, found in reversed(one.runs.items())}  # of the first seed
    errors = [errors for _, _, errors in runs[system]]
    if system == baseline:
        worst = sorted(range(len(errors)), key=lambda i: -errors[i])
        return sorted(worst[:count])
    change = [now - before[2] for now, before in zip(errors, runs[baseline], strict=True)]
    ranked = sorted(range(len(change)), key=lambda i: change[i])
    better = ranked[: count - count // 2]
    worse = [i for i in reversed(ranked) if i not in better][: count // 2]
    return sorted([*better, *worse])


def _timing(path: Path, utterances: Sequence[str]) -> list[tuple[list[str], list[int]]] | None:
    """Tokens of the best hypothesis and when each was emitted, in ms; None where not recorded."""
    if not path.is_file():
        return None
    times: dict[str, tuple[list[str], list[int]]] = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row: dict[str, Any] = json.loads(line)
                best = row["nbest"][0]
                if "step_ms" in row and best.get("frames"):
                    milliseconds = [round(frame * row["step_ms"]) for frame in best["frames"]]
                    times[row["utt"]] = (best["tokens"], milliseconds)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise UserError(
                    f"{path}:{number}: damaged ({error}); decode the set again"
                ) from None
    return [times.get(utterance, ([], [])) for utterance in utterances] if times else None


def _numbers(path: Path) -> Mapping[str, float]:
    """A table of numbers; empty if it is missing."""
    problems, numbers = Problems(), {}
    for key, value in (collect_table(path, problems, required=False) or {}).items():
        try:
            numbers[key] = float(value)
        except ValueError:
            problems.add("not a number", f"{path}: {key}: found {value!r}, expected a number")
    problems.raise_if_any()
    return numbers


def _divided(number: float | None, by: float) -> float | None:
    return None if number is None else round(number / by, 2)
