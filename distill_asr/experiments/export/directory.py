"""A directory that is there complete or not at all, with checksums."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.experiments.layout import AVERAGED, Experiment
from distill_asr.io.checksum import file_sha256

SHA256SUMS = "SHA256SUMS"  # as sha256sum writes and checks them
DECIDING = (".json", ".npz", ".onnx", ".txt")  # endings of files that decide the words
EXPORT_AGAIN = "export it again"


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory beside ``path``; rename it to ``path`` when the block succeeds.

    Raises
    ------
    UserError : ``path`` is there already, or cannot be written (a full disk, no permission).
    """
    refuse_existing(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes private ones
        os.rename(temporary, path)
    except OSError as error:
        named = error.filename
        inside = named is None or temporary in Path(os.fsdecode(named)).parents
        where = path if inside else named
        raise UserError(f"{where}: {error.strerror or error}; nothing was written") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def require_finished(experiment: Path, checkpoint: str) -> None:
    """Refuse a training that is under way: its average is another training's.

    Parameters
    ----------
    experiment : its directory.
    checkpoint : name of the weights; an epoch's may be taken at any time.

    Raises
    ------
    UserError : the average of an unfinished training.
    """
    files = Experiment(experiment)
    if checkpoint == AVERAGED and files.record.exists() and not files.done.exists():
        raise UserError(
            f"{experiment}: the training is not finished ({files.done.name} is missing); "
            "finish it with the same command, or choose an epoch by --checkpoint"
        )


def refuse_existing(path: Path) -> None:
    """Raise UserError where there is something already."""
    if os.path.lexists(path):
        raise UserError(f"--output {path}: exists already; remove it, or choose another one")


def write_sha256sums(directory: Path) -> None:
    """Write the SHA-256 of every file below a directory."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(directory)}\n" for path in files]
    (directory / SHA256SUMS).write_text("".join(lines), encoding="utf-8")


def altered_files(directory: Path) -> list[str]:
    """List the files that decide the words and changed since the export wrote them.

    An export without its checksums, or one whose README was edited, is taken as it is.
    """
    sums = directory / SHA256SUMS
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except ValueError:
        return [f"{sums}: damaged; {EXPORT_AGAIN}"]
    problems = []
    for digest, _, name in (line.partition("  ") for line in lines):
        path = directory / name
        if "/" in name or path.suffix not in DECIDING:
            continue
        if not path.is_file():
            problems.append(f"{path}: no such file, and {SHA256SUMS} names it; {EXPORT_AGAIN}")
        elif file_sha256(path) != digest:
            problems.append(
                f"{path}: changed or damaged since it was written ({SHA256SUMS}); {EXPORT_AGAIN}"
            )
    return problems
