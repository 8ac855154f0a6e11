"""Output of a training: everything to train.log, one line per epoch to the terminal."""

from __future__ import annotations

import io
import logging
import math
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType

_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
STARTED = re.compile(r"(\d+)/(\d+)epoch started")
RESULTS = re.compile(r"(\d+)epoch results: (.*)", re.DOTALL)
PART = re.compile(r"\[(\w+)\] ")
# shown as percentages, and as what they are: errors of the CTC's best path, correct tokens
_RATES = {"cer_ctc": "CTC CER", "cer": "CER", "wer": "WER", "acc": "accuracy"}
MEMORY = 1 << 20  # records


class TrainLog:
    """Takes all logging and warnings of the process, while it is open.

    Until ``open`` names a file the records wait, since nothing is written for a training that
    does not begin. Warnings of other packages belong to the log, not to the terminal.
    """

    def __init__(self) -> None:
        self._waiting = MemoryHandler(MEMORY, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._file: logging.Handler | None = None

    def __enter__(self) -> TrainLog:
        root = logging.getLogger()
        self._before = root.level, root.handlers
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        logging.captureWarnings(True)
        root.setLevel(logging.INFO)
        root.handlers = [self._waiting, EpochLines()]
        return self

    def open(self, path: Path) -> None:
        """Write to ``path``, what waited first."""
        self._file = _File(path, encoding="utf-8")
        self._file.setFormatter(logging.Formatter(_FORMAT))
        self._waiting.setTarget(self._file)
        self._waiting.flush()
        root = logging.getLogger()
        root.handlers = [self._file, *root.handlers[1:]]

    @contextmanager
    def printed(self) -> Iterator[None]:
        """Within the block, what is printed goes to the log as well, line by line."""
        lines = _Printed()
        with redirect_stdout(lines), redirect_stderr(lines):
            yield

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        root = logging.getLogger()
        root.setLevel(self._before[0])
        root.handlers = self._before[1]
        logging.captureWarnings(False)
        self._warnings.__exit__(kind, error, trace)
        if self._file is not None:
            self._file.close()


class _File(logging.FileHandler):
    """A full disk ends the training here as it would at the next checkpoint."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise what ``logging`` would print, a traceback a line."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = self.baseFilename
            raise error
        super().handleError(record)


class _Printed(io.TextIOBase):
    """A stream whose lines are log records."""

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.strip():
                logging.info(line.rstrip())
        return len(text)


class EpochLines(logging.Handler):
    """Turns ESPnet's results of an epoch into a line for a person; passes errors on."""

    def __init__(self) -> None:
        super().__init__()
        self._terminal = sys.stderr
        self._epochs = 0  # in all
        self._begun: tuple[int, float] | None = None  # first epoch of this run, and when

    def emit(self, record: logging.LogRecord) -> None:
        """Look for the start and the results of an epoch."""
        message = record.getMessage()
        ours = record.name.startswith("distill_asr")
        if record.levelno >= logging.ERROR or (ours and record.levelno >= logging.WARNING):
            self._say(f"{record.levelname.lower()}: {message}")
        elif found := STARTED.search(message):
            self._epochs = int(found[2])
            self._begun = self._begun or (int(found[1]), time.monotonic())
        elif found := RESULTS.match(message):
            self._say(self._line(int(found[1]), found[2]))

    def _line(self, epoch: int, results: str) -> str:
        parts = parse_results(results)
        line = f"epoch {epoch}/{self._epochs}: train {_terms(parts.get('train', {}))}"
        if "valid" in parts:
            line += f"; valid {_terms(parts['valid'])}"
        if self._begun is None:
            return line
        first, since = self._begun
        each = (time.monotonic() - since) / (epoch - first + 1)
        left = self._epochs - epoch
        return f"{line}; {duration(each)} an epoch" + (
            f", {duration(each * left)} left" if left > 0 else ""
        )

    def _say(self, line: str) -> None:
        print(line, file=self._terminal, flush=True)


def parse_results(results: str) -> dict[str, dict[str, float]]:
    """Numbers of each part of ESPnet's ``[train] loss=1.0, ..., [valid] loss=2.0, ...``."""
    parts: dict[str, dict[str, float]] = {}
    pieces = PART.split(results)
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        found = re.findall(r"([\w/.-]+)=(\S+?)(?:,|$)", text)
        parts[name] = {}
        for key, value in found:
            try:
                parts[name][key] = float(value)
            except ValueError:
                continue  # durations in words
    return parts


def _terms(numbers: dict[str, float]) -> str:
    """``loss 3.20 (ctc 2.90, hubert 0.30), CER 45.1 %``."""
    if "loss" not in numbers:
        return "nothing"
    # of what a student does not compute ESPnet notes that it is not a number
    numbers = {key: v for key, v in numbers.items() if key == "loss" or not math.isnan(v)}
    terms = [
        f"{key.removeprefix('loss_').removeprefix('distill/')} {number(value)}"
        for key, value in numbers.items()
        if (key.startswith("loss_") and key != "loss_scale")
        or (key.startswith("distill/") and key.count("/") == 1)
    ]
    line = f"loss {number(numbers['loss'])}" + (f" ({', '.join(terms)})" if terms else "")
    rates = [f"{said} {100 * numbers[k]:.1f} %" for k, said in _RATES.items() if k in numbers]
    return ", ".join([line, *rates])


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:#.3g}".rstrip(".")


def duration(seconds: float) -> str:
    """``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"
