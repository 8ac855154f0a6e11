"""Verbs as process groups that can be killed: forked from a warm process, or started anew."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from distill_asr import cli

CAPABILITIES = 0x20080522  # version 3 of capget(2)
OVERRIDING = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
PR_CAPBSET_DROP = 24
PIPE_BYTES = 1 << 20
TRACEBACK = "Traceback (most recent call last)"
_KEPT = 4000  # characters of a command's last words


@dataclass(frozen=True)
class Limits:
    """The conditions that a command runs under."""

    file_bytes: int | None = None  # no file may become longer
    modes: bool = False  # root, too, may write only where the modes allow it


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code (minus the signal), seconds, what it wrote to stderr."""

    code: int
    seconds: float
    stderr: str

    @property
    def fault(self) -> str | None:
        """What is wrong with the way it ended, if anything."""
        if TRACEBACK in self.stderr:
            return f"TRACEBACK {last_line(self.stderr)}"
        if self.code == 1 and ": error: " not in self.stderr:
            return f"NO ERROR MESSAGE {last_line(self.stderr)}"
        if self.code not in (0, 1):
            return f"EXIT {self.code} {last_line(self.stderr)}"
        return None

    @property
    def clean_error(self) -> bool:
        """Exit code 1 and a message."""
        return self.code == 1 and self.fault is None


def last_line(text: str) -> str:
    """The last line that is not empty, shortened."""
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(silent)"


@dataclass
class Running:
    """A command on its way, leader of a process group."""

    pid: int
    pipe: int
    begin: float = field(default_factory=time.monotonic)
    said: bytearray = field(default_factory=bytearray)
    outcome: Outcome | None = None

    def wait(self, seconds: float) -> Outcome | None:
        """Wait at most so long; how it ended, or None while it runs."""
        deadline = time.monotonic() + seconds
        while self.outcome is None:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.pipe], [], [], max(0.0, min(left, 0.02)))
            if ready:
                self._listen()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended(os.waitstatus_to_exitcode(status))
            elif left <= 0:
                return None
        return self.outcome

    def kill(self, victims: Sequence[int] | None = None) -> None:
        """Send kill -9 to processes; to the whole group where none are named."""
        with suppress(ProcessLookupError):
            if victims is None:
                os.killpg(self.pid, signal.SIGKILL)
        for pid in victims or ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def children(self) -> list[int]:
        """Every process below this one."""
        parents = dict(_parents())
        found = [self.pid]
        for parent in found:
            found += [pid for pid, above in parents.items() if above == parent]
        return found[1:]

    def _listen(self) -> bool:
        with suppress(BlockingIOError):
            said = os.read(self.pipe, PIPE_BYTES)
            self.said += said
            return bool(said)
        return False

    def _ended(self, code: int) -> None:
        while self._listen():
            pass
        os.close(self.pipe)
        stderr = self.said.decode(errors="replace")
        self.outcome = Outcome(code, time.monotonic() - self.begin, stderr)
        self.kill()  # what it may have left behind


Start = Callable[[Sequence[str], Path, Limits], Running]


def start_warm(argv: Sequence[str], directory: Path, limits: Limits = Limits()) -> Running:
    """Fork this process, which has imported what takes seconds, and run a verb there.

    Parameters
    ----------
    argv : the verb and its arguments.
    directory : it runs there.
    limits : its conditions.
    """
    return _forked(lambda: cli.main(list(argv)), directory, limits)


def start_real(argv: Sequence[str], directory: Path, limits: Limits = Limits()) -> Running:
    """Run a verb as a user does, in a new interpreter.

    Parameters
    ----------
    argv : the verb and its arguments.
    directory : it runs there.
    limits : its conditions.
    """
    command = [sys.executable, "-m", "distill_asr", *argv]
    return _forked(lambda: os.execv(sys.executable, command), directory, limits)


def _forked(run: Callable[[], int], directory: Path, limits: Limits) -> Running:
    sys.stdout.flush()
    here, there = os.pipe()
    os.set_blocking(here, False)
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    pid = os.fork()
    if pid:
        os.close(there)
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        return Running(pid, here)
    code = 1
    try:
        os.setpgid(0, 0)
        _settle(there, directory, limits)
        code = run() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _settle(stderr: int, directory: Path, limits: Limits) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(stderr, 2)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # pytest puts others there
    os.chdir(directory)
    if limits.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    if limits.modes and os.geteuid() == 0:
        _obey_modes()


def _obey_modes() -> None:
    """Drop what lets root write into a directory that is read-only, here and in all children."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    libc.capget(header, sets)
    for number in range(3):
        sets[number] &= ~OVERRIDING
    for capability in (1, 2):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _parents() -> list[tuple[int, int]]:
    """Every process and its parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after = path.read_text().rpartition(")")[2].split()
            found.append((int(path.parent.name), int(after[1])))
    return found
