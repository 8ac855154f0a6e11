"""``teacher_report.json``: the facts about a finished teacher; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.io.occupied import TEACHER, occupied

REPORT = "teacher_report.json"


def is_trained(output: Path) -> bool:
    """Whether a finished teacher lies there."""
    return (output / REPORT).is_file()


def output_problems(output: Path) -> list[str]:
    """Report that a directory without a report holds files, which this command did not write."""
    problems = occupied(output, TEACHER, "--output")
    if not problems and not is_trained(output) and output.is_dir() and any(output.iterdir()):
        problems = [f"--output {output}: holds files, and no {REPORT}; give a new directory"]
    return problems


def scored_name(path: str, text: bool) -> str:
    """Name of a scored set in the report.

    Parameters
    ----------
    path : of the set.
    text : of a text teacher, whose sets are files.
    """
    return Path(path).stem if text else Path(path).name


def unscored(report: dict[str, Any], sets: Iterable[str]) -> list[str]:
    """Those of ``sets`` that the report lacks."""
    text = "dev_perplexity" in report
    return [path for path in sets if scored_name(path, text) not in report["scores"]]


def read_report(output: Path) -> dict[str, Any]:
    """Read the facts about a finished teacher.

    Raises
    ------
    UserError : the report is not JSON, or lacks what the command writes.
    """
    path = output / REPORT
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        dict(found["config"]), dict(found["scores"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged or cut short; remove {output} to train anew") from error
    return found


def write_report(output: Path, report: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    write_text_atomic(output / REPORT, json.dumps(report, indent=1) + "\n")


def teacher_lines(report: dict[str, Any]) -> list[str]:
    """Describe the report in words."""
    lines = score_lines(report)
    if "dev_perplexity" in report:
        perplexity = report["dev_perplexity"][-1]
        first = f"{report['train_sentences']} sentences, dev perplexity {perplexity:.2f}"
        return [first, *lines]
    return lines


def score_lines(report: dict[str, Any]) -> list[str]:
    """A line a scored set: error rates of a speech teacher, masked words of a text teacher."""
    return [_score_line(name, found) for name, found in report["scores"].items()]


def _score_line(name: str, found: dict[str, Any]) -> str:
    if "wer" in found:
        return f"{name}: WER {found['wer']} %, CER {found['cer']} %"
    line = f"{name}: fills {found['right']:.1%} of {found['words']} masked words"
    if found["choices"]:
        share, cases = found["choices_right"], found["choices"]
        line += f", chooses rightly in {share:.1%} of {cases} cases"
    return line
