"""Progress in logs and terminals."""

from __future__ import annotations

import io
import re

import pytest

from distill_asr.io import progress
from distill_asr.io.progress import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(progress, "SECONDS", 1e-9)
    for _ in Bar(range(3), desc="reading", unit="utt"):
        pass
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue() and lines
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d reading: 3 of 3 utt, \d\d:\d\d, .* left, .*utt/s", lines[-1]
    )


def test_short_work_leaves_a_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    assert sum(Bar(range(3), desc="reading")) == 3
    with Bar(total=3, desc="writing", leave=False) as bar:
        bar.update(3)
    assert log.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    list(Bar(range(3), desc="reading"))
    assert "\r" in terminal.getvalue() and "100%" in terminal.getvalue()
