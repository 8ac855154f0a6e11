"""One lock for every directory that a command writes, also one that several hosts share.

The lock is a file beside the directory that names its holder. On this machine a POSIX record lock
on that file shows whether the holder still lives: the kernel drops it when a process ends, however
it ends, so a kill never blocks the same command. What another machine's process is doing cannot
be seen on every file system, so a lock file of another machine holds until somebody removes it.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from distill_asr.errors import UserError, os_error_message

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the same in all containers of a machine
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # record locks: by the file system
_held: set[Path] = set()  # by this process: a record lock does not stop its own holder


class HeldError(UserError):
    """A process of this machine, which lives, is writing there."""


@dataclass(frozen=True)
class Holder:
    """The holder of a lock, from its file."""

    host: str
    boot: str  # which machine, and since when it runs; empty where the system does not give it
    pid: int
    doing: str
    since: str

    @classmethod
    def this_process(cls, doing: str) -> Holder:
        """Describe this process as a holder."""
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), boot, os.getpid(), doing, now)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, {self.doing} since {self.since}"


def lock_path(directory: str | Path) -> Path:
    """File that locks a directory: beside it, since a command may remove the directory itself."""
    directory = Path(directory).resolve()
    return directory.parent / f".{directory.name}.lock"


def is_held(directory: str | Path) -> bool:
    """Whether a command is writing a directory, as far as this host can see.

    False without a lock file, or if its holder was a process of this host that is gone.
    """
    try:
        with open(lock_path(directory), encoding="utf-8") as stream:
            found = _read(stream)
    except FileNotFoundError:
        return False
    return found is None or found.host != socket.gethostname() or _process_exists(found.pid)


@contextmanager
def locked(directory: str | Path, doing: str) -> Iterator[None]:
    """Hold the lock of a directory, which need not exist yet.

    Parameters
    ----------
    directory : what will be written; two names of it through links are one directory.
    doing : for the message to whoever comes second, e.g. "dumping targets".

    Raises
    ------
    UserError : another process holds it; names host, pid, and the file to remove where only a
        person can know that the holder is gone. Or the directory cannot be written.
    """
    path = lock_path(directory)
    if path in _held:
        raise UserError(f"{directory}: this very process is already writing there; name it once")
    try:
        missing = [one for one in path.parents if not one.exists()]
        stream = _acquire_below(path, Path(directory), Holder.this_process(doing))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({os_error_message(error)})") from error
    _held.add(path)
    try:
        _remove_left(path)
        yield
    finally:
        _held.discard(path)
        if _is_file(path, stream):
            path.unlink(missing_ok=True)
        stream.close()
        with suppress(OSError):  # nothing was written there
            for parent in missing:
                parent.rmdir()


def _acquire_below(path: Path, directory: Path, holder: Holder) -> IO[str]:
    """Make the directory of a lock file, and acquire the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _acquire(path, directory, holder)
    except FileNotFoundError:  # the first who locked there has just failed, and removed it
        path.parent.mkdir(parents=True, exist_ok=True)
        return _acquire(path, directory, holder)


def _acquire(path: Path, directory: Path, holder: Holder) -> IO[str]:
    """Put a locked file with our record at ``path``; the lock lives as long as it is open."""
    with _new_file(path, holder) as own:
        stream = open(own, "r+", encoding="utf-8")
        try:
            _record_lock(stream)
            while not _placed(own, path):
                if _taken_over(own, path, directory, holder):
                    break
        except BaseException:
            stream.close()
            raise
    return stream


@contextmanager
def _new_file(path: Path, holder: Holder) -> Iterator[Path]:
    """Write the record under a temporary name, so that nobody sees half of it."""
    prefix = _temporary_prefix(path, holder.host, holder.pid)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(holder), stream)
        Path(name).chmod(0o664)  # colleagues who share the directory can take over, too
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _temporary_prefix(path: Path, host: str, pid: int | str) -> str:
    return f"{path.name}.{host}.{pid}."


def _remove_left(path: Path) -> None:
    """Remove the temporary files of processes of this machine that were killed over them."""
    beginning = _temporary_prefix(path, socket.gethostname(), "")[:-1]
    for left in path.parent.glob(f"{glob.escape(beginning)}*.tmp"):
        pid = left.name.removeprefix(beginning).partition(".")[0]
        if pid.isdecimal() and not _process_exists(int(pid)):
            left.unlink(missing_ok=True)


def _placed(own: Path, path: Path) -> bool:
    try:
        os.link(own, path)  # atomic, on network file systems too
    except FileExistsError:
        return False
    return True


def _taken_over(own: Path, path: Path, directory: Path, holder: Holder) -> bool:
    """Replace the lock file of a dead process; False where it has just been removed or replaced.

    Only one process at a time gets past the record lock on the old file, and it leaves with its
    own file, locked already, in the old one's place.
    """
    try:
        stream = open(path, "r+", encoding="utf-8")
    except FileNotFoundError:
        return False
    except PermissionError:
        raise UserError(
            f"{directory}: locked by another user's command; wait for it to end; if it is gone, "
            f"its user can remove {path}"
        ) from None
    with stream:
        found = _read(stream)
        of_old_version = os.fstat(stream.fileno()).st_size == 0  # which left it behind
        alive = not _record_lock(stream, found) or (of_old_version and not _old_lock(stream))
        if not _is_file(path, stream):
            return False
        if alive:
            by = found or "of an older version"
            raise HeldError(
                f"{directory}: being written by another command ({by}); wait for it to end, or "
                "choose another directory"
            )
        if not of_old_version and not _is_here(found, holder):
            by = found or "a lock file that cannot be read"
            raise UserError(
                f"{directory}: locked by {by}, which cannot be seen from {holder.host}; wait for "
                f"it to end; if it is gone, remove {path}"
            )
        os.replace(own, path)
        return True


def _is_here(found: Holder | None, holder: Holder) -> bool:
    """Whether a lock file is of this machine, whose kernel knows if its holder lives."""
    return found is not None and (found.boot == holder.boot != "" or found.host == holder.host)


def _old_lock(stream: IO[str]) -> bool:
    """Take the lock as older versions did; False where such a process has it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record_lock(stream: IO[str], holder: Holder | None = None) -> bool:
    """Take the kernel's lock on a lock file; False where a living process has it."""
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in _UNSUPPORTED:
            raise
        return holder is None or not _process_exists(holder.pid)
    return True


def _process_exists(pid: int) -> bool:
    with suppress(ProcessLookupError):
        with suppress(PermissionError):  # of another user
            os.kill(pid, 0)
        return True
    return False


def _read(stream: IO[str]) -> Holder | None:
    """Give the record of a lock file, or None where it is damaged."""
    try:
        found = Holder(**json.load(stream))
    except (ValueError, TypeError):
        return None
    return found if type(found.pid) is int else None


def _is_file(path: Path, stream: IO[str]) -> bool:
    """Whether ``path`` is still the file that is open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
