"""Writing files so that a kill at any moment leaves either the old file or the new one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROBE_BYTES = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
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
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except RuntimeError:
            _write_more(temporary)  # torch and soundfile do not say that the disk is full
            raise
        # mkstemp makes files private; give them the permissions any new file would have
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _sync(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
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
