"""The line that says how far a dump is."""

import io

import pytest

from distill_asr.dump import progress
from distill_asr.dump.progress import Progress

HOUR = 3600 * 16000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_audio() -> None:
    bar = Progress("dump/train", True, 10 * HOUR, 2 * HOUR, 500_000_000)
    assert bar.line(0.0) == "dump/train: 2.00 of 10.00 h, 0.0 x real time, 500.0 MB on disk, ? left"
    bar.under_way(0, HOUR)
    bar.under_way(1, HOUR)
    bar.finished(0, 2 * HOUR, 750_000_000)
    # 3 h computed in 108 s
    assert bar.line(108.0) == (
        "dump/train: 5.00 of 10.00 h, 100.0 x real time, 1.2 GB on disk, 0:03:00 left"
    )
    bar.under_way(1, 0)  # its worker died
    assert bar.line(108.0).startswith("dump/train: 4.00 of 10.00 h")


def test_sentences() -> None:
    bar = Progress("2 sets", False, 12_000)
    bar.finished(0, 2000, 999)
    assert bar.line(4.0) == (
        "2 sets: 2,000 of 12,000 sentences, 500 a second, 999 B on disk, 0:00:20 left"
    )


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_lines_come_now_and_then(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = kind()
    bar = Progress("x", False, 1000, stream=stream)
    for step in range(1, 121):
        now[0] += 0.125
        bar.finished(step, 1, 1)
    lines = stream.getvalue().count("sentences")
    assert lines == (30 if kind is Terminal else 0)
    now[0] += 60
    bar.finished(121, 1, 1)
    assert stream.getvalue().count("sentences") == lines + 1
    bar.close()
    assert stream.getvalue().endswith("\r\033[K" if kind is Terminal else "left\n")
