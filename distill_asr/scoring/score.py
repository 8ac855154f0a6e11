"""Scoring all that a comparison asks for, onto disk."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.io.locks import locked
from distill_asr.scoring.systems import (
    Comparison,
    compare_systems,
    count_all,
    missing_lines,
    noise_floors,
    run_figures,
    summary_figures,
)
from distill_asr.scoring.table import SystemResult, systems_table, table_notes

_TABLES = (".md", ".txt")  # endings of what --out names


@dataclass(frozen=True)
class Scores:
    """Results of every system and set, their table as Markdown, and what had no hypothesis."""

    results: list[SystemResult]
    table: str
    missing: list[str]


def write_scores(wanted: Comparison, out: Path) -> Scores:
    """Score; write the table, its figures (``.json``) and a ``score.json`` beside each text.

    Parameters
    ----------
    wanted : what to score.
    out : the table, a name that ends in ``.md`` or ``.txt``.

    Raises
    ------
    UserError : with every missing or unfit file of all systems, seeds and sets.
    """
    if problems := out_problems(out):
        raise UserError(problems)
    counted = count_all(wanted)
    results = compare_systems(wanted, counted)
    floors = noise_floors(wanted, counted)
    missing = missing_lines(wanted, counted)
    table = systems_table(results, wanted.references(), floors)
    shown = _paragraphs(table, _legend(wanted), *table_notes(results, floors))
    with locked(out, "scoring"):
        for run, edits in counted.edits.items():
            figures = run_figures(edits, counted.missing.get(run, []))
            write_json(wanted.decoded(run) / "score.json", figures)
        write_json(out.with_suffix(".json"), summary_figures(wanted, results, floors))
        write_text_atomic(out, shown + "".join(f"\n{line}\n" for line in missing))
    return Scores(results, shown, missing)


def out_problems(out: Path, endings: Sequence[str] = _TABLES) -> list[str]:
    """Report why a table cannot be written there, in the words of the command line.

    Names that other files have, such as ``text``, are refused: what lies there is replaced.

    Parameters
    ----------
    out : the table.
    endings : suffixes that are welcome.
    """
    if out.suffix == ".json":
        return [
            f"--out: {out} is the file of the figures; give the table another suffix, such as .md"
        ]
    if out.suffix not in endings:
        return [f"--out {out}: expected a name that ends in {' or '.join(endings)}"]
    return []


def _paragraphs(table: str, *notes: str) -> str:
    return "\n".join([table, *(f"{note}\n" for note in notes)])


def _legend(wanted: Comparison) -> str:
    than = " and ".join(wanted.references())
    return (
        f"Percent. WER and CER: mean ± standard deviation over seeds "
        f"{', '.join(map(str, wanted.seeds))}; sub / ins / del: all seeds together. "
        f"Fewer errors: relative reduction of the WER against {than}, all seeds together."
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write figures; those that JSON cannot hold become null."""
    text = json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


def _finite(value: Any) -> Any:
    """Replace infinity by null, since JSON cannot hold it."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
