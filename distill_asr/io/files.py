"""Writing files so that a kill at any moment leaves either the old file or the new one."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROBE_BYTES = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary file is removed when the block raises, so that nothing half-written stays.

    Raises
    ------
    OSError : names ``path``, also where the block's library has hidden it in an error of its own.
    """
    target = Path(path)
    try:
        with _temporary_beside(target) as temporary:
            yield temporary
    except OSError as error:
        name = error.filename
        hidden = name is None and error.errno is not None
        if hidden or str(name).startswith(str(target.parent / f".{target.name}.")):
            error.filename, error.filename2 = str(target), None
        raise


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, handle = _opened_beside(target)
    try:
        try:
            yield temporary
        except RuntimeError:
            _write_more(temporary)  # torch and soundfile do not report that the disk is full
            raise
        # temporary files are private; give them the permissions any new file would have
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _sync(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def _opened_beside(target: Path) -> tuple[Path, int]:
    """Name a temporary file; whoever writes the target next takes over what a kill left of it.

    The handle holds a lock on the file, so that two who write at once have a file each.
    """
    path = target.parent / f".{target.name}.0.tmp"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):  # else its writer has just renamed it
            os.ftruncate(handle, 0)
            return path, handle
    except OSError:  # another writer's, or a file system without locks
        pass
    os.close(handle)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    return Path(name), handle


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_more(path: Path) -> None:
    """Raise the OSError that stops anybody from writing more into a file."""
    with open(path, "ab") as stream:
        stream.write(bytes(_PROBE_BYTES))
        stream.flush()
        os.fsync(stream.fileno())


def _sync(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
