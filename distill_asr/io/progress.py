"""Progress of long work: a bar in a terminal, plain lines with the time of day in a log."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30.0  # between lines of a log; shorter work writes no lines
_PLAIN = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}, {remaining} left, {rate_fmt}"


class Bar(tqdm):  # type: ignore[type-arg] # tqdm takes none at run time
    """``tqdm``, but that a file or pipe gets a line every half minute instead of a bar."""

    def __init__(self, *args: Any, **options: Any) -> None:
        if not sys.stderr.isatty():
            options |= {"file": _Lines(sys.stderr), "mininterval": SECONDS, "maxinterval": SECONDS,
                        "delay": SECONDS, "bar_format": _PLAIN}  # fmt: skip
        super().__init__(*args, **options)


class _Lines:
    """Makes lines of what ``tqdm`` draws over its last state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text.strip():
            self._stream.write(f"{time.strftime('%H:%M:%S')} {text.strip()}\n")

    def flush(self) -> None:
        self._stream.flush()
