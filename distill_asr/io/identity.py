"""The identity of a file: its content, not its name, size or times.

A file is hashed once; afterwards its real path, size, times and inode vouch for it. The change
time cannot be set by a program, so a file put in another's place is read again even where size
and modification time were made to agree.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill_asr.errors import LINES_PER_KIND, UserError
from distill_asr.io.checksum import file_sha256
from distill_asr.io.files import write_text_atomic
from distill_asr.io.progress import Bar

CACHE = ".identity"  # what callers name the cache in the directory it belongs to
_FORMAT = 1
_THREADS = 8
_FILES_A_TASK = 64
# A file changed again within the same tick of the file system's clock keeps its times, so what was
# changed just before it was hashed is not vouched for.
_SETTLED_NS = 2_000_000_000
_ARCHIVE = re.compile(r"(.+\.ark):(\d+)")

Stamp = list[int]  # size, modification time, change time, inode


def audio_identity(
    paths: Mapping[str, str | Path], cache: str | Path | None, *, quiet: bool = False
) -> dict[str, str]:
    """SHA-256 of the content of each utterance's audio file.

    Parameters
    ----------
    paths : files by utterance; ``archive.ark:offset``, as Kaldi writes, is the archive's content
        and the offset.
    cache, quiet : as of ``content_identity``.

    Raises
    ------
    UserError : names the utterances whose files are missing or cannot be read.
    """
    places = {name: _split(path) for name, path in paths.items()}
    found = content_identity({file for file, _ in places.values()}, cache, quiet=quiet)
    _require_all(paths, {name: found[file] for name, (file, _) in places.items()})
    return {name: _with_offset(str(found[file]), offset) for name, (file, offset) in places.items()}


def content_identity(
    files: Iterable[str | Path], cache: str | Path | None, *, quiet: bool = False
) -> dict[str, str | OSError]:
    """SHA-256 of the content of each file, or why it cannot be read, by path as given.

    Parameters
    ----------
    cache : file that remembers the hashes of unchanged files. A damaged one is written anew; one
        that cannot be written costs time, nothing else. None: read everything.
    quiet : show no progress.
    """
    known = {} if cache is None else _load(Path(cache))
    names = sorted(map(str, files))
    found: dict[str, str | OSError] = {}
    fresh: dict[str, list[Any]] = {}
    places: dict[str, str] = {}
    # a task for each of very many files would cost more than their stamps do
    count = min(_FILES_A_TASK, 1 + len(names) // (_THREADS * _THREADS))
    tasks = [names[first : first + count] for first in range(0, len(names), count)]
    with ThreadPoolExecutor(_THREADS) as pool:
        done = pool.map(lambda task: [_hashed(file, known, places) for file in task], tasks)
        pieces = (piece for pieces in done for piece in pieces)
        bar = Bar(pieces, "checksums", len(names), unit="file", leave=False, delay=2, disable=quiet)
        for file, (digest, entry) in zip(names, bar, strict=True):
            found[file] = digest
            fresh |= entry
    if fresh and cache is not None:
        _save(Path(cache), known | fresh)
    return found


def _split(path: str | Path) -> tuple[str, str]:
    """File, and the offset in it (empty for a whole file)."""
    archive = _ARCHIVE.fullmatch(str(path))
    return (archive[1], archive[2]) if archive else (str(path), "")


def _with_offset(digest: str, offset: str) -> str:
    return hashlib.sha256(f"{digest}:{offset}".encode()).hexdigest() if offset else digest


def _hashed(
    file: str, known: Mapping[str, list[Any]], places: dict[str, str]
) -> tuple[str | OSError, dict[str, list[Any]]]:
    """Digest or what went wrong, and the entry for the cache if it is new."""
    try:
        real, before = _place(file, places)
        entry = known.get(real)
        if entry and entry[:-1] == before:
            return entry[-1], {}
        digest = file_sha256(real)
        settled = time.time_ns() - max(before[1], before[2]) > _SETTLED_NS
        if settled and _stamp(real) == before:
            return digest, {real: [*before, digest]}
        return digest, {}
    except OSError as error:
        return error, {}


def _place(file: str, places: dict[str, str]) -> tuple[str, Stamp]:
    """Real path and stamp; ``places`` remembers the real paths of directories."""
    folder, name = os.path.split(file)
    facts = os.lstat(file)
    if stat.S_ISLNK(facts.st_mode) or name in ("", ".", ".."):
        real = os.path.realpath(file)
        return real, _stamp(real)
    if folder not in places:
        places[folder] = os.path.realpath(folder)
    return os.path.join(places[folder], name), _stamp_of(facts)


def _stamp(path: str) -> Stamp:
    return _stamp_of(os.stat(path))


def _stamp_of(facts: os.stat_result) -> Stamp:
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _require_all(paths: Mapping[str, str | Path], found: Mapping[str, str | OSError]) -> None:
    bad = [(name, error) for name, error in found.items() if isinstance(error, OSError)]
    if not bad:
        return
    lines = [
        f"utterance {name}: {paths[name]}: cannot be read ({error.strerror or error}); bring the "
        "file back, or correct wav.scp"
        for name, error in bad[:LINES_PER_KIND]
    ]
    more = len(bad) - LINES_PER_KIND
    raise UserError([*lines, f"... and {more} more"] if more > 0 else lines)


def _load(cache: Path) -> dict[str, list[Any]]:
    """Give the entries of a cache, none if it is missing, damaged, or of another format."""
    try:
        checksum, _, content = cache.read_text(encoding="utf-8").partition("\n")
        if checksum != _checksum(content):
            return {}
        return json.loads(content)
    except (OSError, ValueError):
        return {}


def _save(cache: Path, entries: Mapping[str, list[Any]]) -> None:
    content = json.dumps(entries, indent=0, sort_keys=True)
    with suppress(OSError):  # a data dir that cannot be written is read anew each time
        write_text_atomic(cache, f"{_checksum(content)}\n{content}")


def _checksum(content: str) -> str:
    return hashlib.sha256(f"{_FORMAT}\n{content}".encode()).hexdigest()
