"""One accident each: what is done, what must come of it.

Whatever happens to a command, it ends with exit code 0, or 1 and one clear message; and the same
command, run again without an accident, gives what it gives undisturbed.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distill_asr.testing.torture.processes import Limits, Outcome, Running
from distill_asr.testing.torture.scene import (
    SOURCES,
    STEPS,
    Scene,
    matches,
)

DISK_BYTES = 64 << 20
DAMAGE = ("flip", "flip", "flip", "cut", "zeros", "empty", "longer")
PAST, FUTURE = 0, 4102444800  # 1970 and 2100, seconds
EXPENSIVE = ("prepare", "dump", "train 1", "train 2")  # worth more kills than the others


@dataclass(frozen=True)
class Verdict:
    """What was done, and what is wrong with what came of it; None where all is well."""

    done: str
    fault: str | None


class Trial:
    """One trial in a scene; each of ``KINDS`` is a method.

    Parameters
    ----------
    rng : decides everything that is drawn.
    """

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.number = rng.randrange(1, len(STEPS) + 1)
        self.step = STEPS[self.number - 1]
        self.command = rng.choice(self.step.commands)
        self.done = f"{self.step.name:12s} "

    def kill(self) -> Verdict:
        """Send kill -9 at a random moment, once or twice; then the same command again."""
        self._draw(EXPENSIVE)
        self.scene.restore(self.number - 1)
        for _ in range(self.rng.choice((1, 1, 2))):
            victim = self.rng.choice(("group", "group", "main", "child"))
            moment = self.rng.random() * self.scene.seconds[self.step.name]
            running = self.scene.start(self.command)
            if running.wait(moment) is None:
                victim = self._strike(running, victim)
            outcome = self.scene.finish(running)
            self.done += f"{victim} at {moment:.2f} s: {outcome.code}; "
            if outcome.code != -9 and outcome.fault:
                return self._verdict(outcome.fault)
        return self._again()

    def disk(self) -> Verdict:
        """A disk that is full, or a file that may not grow, at a random byte; then again."""
        self.scene.restore(self.number - 1)
        room = int(self.scene.size(self.number) ** self.rng.random())
        if os.geteuid() == 0 and self.rng.random() < 0.5:
            with small_disk(self.scene.directory):
                self.scene.restore(self.number - 1)
                ballast = fill(self.scene.directory, room)
                outcome = self.scene.run(self.command)
                ballast.unlink()
                return self._after(f"{room} bytes left", outcome)
        command = self.command
        if command[0] == "train":  # what loaders pass on are files, too
            command = (*command, "--set", "num_workers=0")
        outcome = self.scene.run(command, Limits(file_bytes=room))
        return self._after(f"files of {room} bytes at most", outcome)

    def readonly(self) -> Verdict:
        """Nothing may be written, or not into the directory that the command writes into."""
        self.scene.restore(self.number - 1)
        folders = [self.scene.directory]
        folders += [path for path in self.scene.directory.rglob("*") if path.is_dir()]
        if self.rng.random() < 0.5:
            target = self.scene.directory / self.step.makes[0].split("*")[0]
            folders = [next(path for path in (target, *target.parents) if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        outcome = self.scene.run(self.command, Limits(modes=True))
        for folder in folders:
            folder.chmod(0o755)
        return self._after(f"{len(folders)} read-only directories", outcome)

    def race(self) -> Verdict:
        """The same command twice at a time; then again."""
        self._draw(EXPENSIVE)
        self.scene.restore(self.number - 1)
        offset = self.rng.random() * self.scene.seconds[self.step.name]
        first = self.scene.start(self.command)
        first.wait(offset)
        second = self.scene.start(self.rng.choice(self.step.commands))
        outcomes = [self.scene.finish(first), self.scene.finish(second)]
        self.done += f"two, {offset:.2f} s apart: {[outcome.code for outcome in outcomes]}; "
        for outcome in outcomes:
            if outcome.fault:
                return self._verdict(outcome.fault)
        if all(outcome.code for outcome in outcomes):
            return self._verdict("BOTH REFUSED")
        return self._again()

    def clock(self) -> Verdict:
        """Modification times anywhere between 1970 and 2100, before the command and after it."""
        self.scene.restore(self.number - self.rng.choice((0, 1)))
        for _ in range(2):
            for path in self.scene.directory.rglob("*"):
                if not path.is_symlink() and self.rng.random() < 0.7:
                    moment = self.rng.choice((PAST, FUTURE, self.rng.randrange(PAST, FUTURE)))
                    os.utime(path, (moment, moment))
            verdict = self._again()
            if verdict.fault:
                return verdict
        return verdict

    def flip(self) -> Verdict:
        """A damaged file, before the command or where it has run: right, or a clear error."""
        before = self.number - self.rng.choice((0, 1))
        self.scene.restore(before)
        names = self.scene.files(before, self.step.reads)
        if not names:
            return self._verdict(None)
        name = self.rng.choice(names)
        path = self.scene.directory / name
        content = path.read_bytes()
        damaged, how = damage(content, self.rng)
        path.write_bytes(damaged)
        if before == self.number:
            self.done += "(again) "
        self.done += f"{name} {how}: "
        outcome = self.scene.run(self.command)
        self.done += f"{outcome.code} "
        if outcome.fault or outcome.code:
            return self._verdict(outcome.fault)
        if damaged == content or matches(name, SOURCES):
            return self._verdict(None)
        found = path.read_bytes() if path.is_file() else b""
        spared = name if found == damaged else None  # it did not look at it
        return self._verdict(self._wrong(spared))

    def _draw(self, names: tuple[str, ...]) -> None:
        """Take one of these commands more often than the others."""
        if self.rng.random() < 0.6:
            name = self.rng.choice(names)
            self.number = next(n for n, step in enumerate(STEPS, 1) if step.name == name)
            self.step = STEPS[self.number - 1]
            self.command = self.rng.choice(self.step.commands)
            self.done = f"{self.step.name:12s} "

    def _strike(self, running: Running, victim: str) -> str:
        """Kill; a child is one worker, or one loader of a training. Return what was killed."""
        if victim == "child":
            children = running.children()
            if children:
                running.kill([self.rng.choice(children)])
                return "child"
        if victim == "main":
            running.kill([running.pid])
            return "main"
        running.kill()
        return "group"

    def _after(self, what: str, outcome: Outcome) -> Verdict:
        """Run the command again without the accident."""
        self.done += f"{what}: {outcome.code}; "
        if outcome.fault:
            return self._verdict(outcome.fault)
        if outcome.code == 0 and (wrong := self._wrong()):
            return self._verdict(f"BUT EXIT 0, {wrong}")
        return self._again()

    def _again(self) -> Verdict:
        """The same command without an accident gives what it gives undisturbed."""
        outcome = self.scene.run(self.command)
        self.done += f"again {outcome.code} "
        if outcome.fault:
            return self._verdict(outcome.fault)
        if outcome.code:
            return self._verdict(f"REFUSED {' '.join(outcome.stderr.splitlines()[-2:])[-300:]}")
        return self._verdict(self._wrong())

    def _wrong(self, spared: str | None = None) -> str | None:
        differences = self.scene.differences(self.number, spared)
        return f"WRONG {', '.join(differences[:4])}" if differences else None

    def _verdict(self, fault: str | None) -> Verdict:
        return Verdict(self.done, fault)


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A small file system of its own at this place, for root."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def fill(directory: Path, room: int) -> Path:
    """Fill a file system; give the file that does it.

    Parameters
    ----------
    directory : on that file system; the file is made there.
    room : bytes to leave, in whole blocks.
    """
    state = os.statvfs(directory)
    ballast = directory / "ballast"
    with open(ballast, "wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, state.f_bavail * state.f_frsize - room)
    return ballast


def damage(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A damaged copy, and what was done to it.

    Parameters
    ----------
    content : bytes of a file.
    rng : draws the kind of damage and its place.
    """
    how, size = rng.choice(DAMAGE), len(content)
    if how == "longer" or not size:
        return content + rng.randbytes(1 + rng.randrange(64)), "longer"
    place = rng.randrange(size)
    if how == "flip":
        bit = rng.randrange(8)
        flipped = bytes([content[place] ^ 1 << bit])
        return content[:place] + flipped + content[place + 1 :], f"byte {place} bit {bit}"
    if how == "cut":
        return content[:place], f"cut at {place}"
    if how == "zeros":
        length = min(size - place, 1 + rng.randrange(512))
        zeroed = content[:place] + bytes(length) + content[place + length :]
        return zeroed, f"{length} zeros at {place}"
    return b"", "empty"
