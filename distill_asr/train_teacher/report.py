"""``teacher_report.json``: what is known of a finished teacher; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic

REPORT = "teacher_report.json"


def read_report(output: Path) -> dict[str, Any]:
    """Read what is known of a finished teacher.

    Raises
    ------
    UserError : the report is no JSON.
    """
    path = output / REPORT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove {output} to train anew") from error


def write_report(output: Path, report: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    write_text_atomic(output / REPORT, json.dumps(report, indent=1) + "\n")


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
