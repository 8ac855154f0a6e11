"""Hostile content, and how to see whether it did anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_asr import cli


class Trap:
    """Unpickled, it makes a directory."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What hostile content makes when it is run; it must never be there."""
    return tmp_path / "executed"


@pytest.fixture
def trap(mark: Path) -> Trap:
    return Trap(mark)


@pytest.fixture
def refused(mark: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Function that runs a verb which must refuse what it reads; its report."""

    def run(*argv: object) -> str:
        capsys.readouterr()
        code = cli.main([str(word) for word in argv])
        report = capsys.readouterr().err
        assert not mark.exists(), "the content was executed"
        assert code == 1, report
        assert "Traceback" not in report and f"distill-asr {argv[0]}: error: " in report
        return report

    return run


@pytest.fixture(autouse=True)
def nothing_imported(tmp_path: Path) -> None:
    """No file of a test is importable."""
    assert str(tmp_path) not in sys.path
