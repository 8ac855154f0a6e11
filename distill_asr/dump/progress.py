"""How far a dump is: a line rewritten in place on a terminal, one now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

SAMPLES_AN_HOUR = 16000 * 3600
ON_TERMINAL = 0.5  # seconds between lines
IN_LOG = 60.0


class Progress:
    """Counts what is done. Amounts are samples of audio, or sentences.

    Parameters
    ----------
    name : what is dumped.
    audio : amounts are samples.
    total : amount of everything.
    done : of it, done by an earlier run.
    disk : bytes written by an earlier run.
    """

    def __init__(
        self,
        name: str,
        audio: bool,
        total: int,
        done: int = 0,
        disk: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        self._name = name
        self._audio = audio
        self._total = total
        self._done = self._before = done
        self._disk = disk
        self._under_way: dict[int, int] = {}
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._begin = self._shown = time.monotonic()

    def under_way(self, piece: int, amount: int) -> None:
        """Record how much of a piece is done.

        Parameters
        ----------
        piece : its number.
        amount : in the unit of the whole; 0 if its worker died.
        """
        self._under_way[piece] = amount
        self._show()

    def finished(self, piece: int, amount: int, size: int) -> None:
        """Record a piece that is on disk.

        Parameters
        ----------
        piece : its number.
        amount : all of it, in the unit of the whole.
        size : bytes.
        """
        self._under_way.pop(piece, None)
        self._done += amount
        self._disk += size
        self._show()

    def clear(self) -> None:
        """Make room for other output."""
        if self._terminal:
            print("\r\033[K", end="", file=self._stream, flush=True)

    def close(self) -> None:
        """Take the line away."""
        self.clear()

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        done = self._done + sum(self._under_way.values())
        speed = (done - self._before) / seconds if seconds > 0 else 0.0
        left = _clock((self._total - done) / speed) if speed else "?"
        disk = f"{_bytes(self._disk)} on disk, {left} left"
        if self._audio:
            hours, total = done / SAMPLES_AN_HOUR, self._total / SAMPLES_AN_HOUR
            rate = f"{speed / 16000:.1f} x real time"
            return f"{self._name}: {hours:.2f} of {total:.2f} h, {rate}, {disk}"
        rate = f"{speed:.0f} a second"
        return f"{self._name}: {done:,} of {self._total:,} sentences, {rate}, {disk}"

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown < (ON_TERMINAL if self._terminal else IN_LOG):
            return
        self._shown = now
        line = self.line(now - self._begin)
        print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n",
              file=self._stream, flush=True)  # fmt: skip


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def _bytes(count: int) -> str:
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
