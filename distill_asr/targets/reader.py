"""Targets back from disk, by utterance id."""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distill_asr.errors import UserError
from distill_asr.targets.codecs import build_codec
from distill_asr.targets.integrity import require_unchanged
from distill_asr.targets.manifest import SCP, WAY_OUT, Manifest, require_same_teacher

MAX_OPEN_FILES = 32


class TargetReader:
    """A read-only mapping from utterance id to teacher states float32 [S, E].

    Opens nothing but the indexes until asked; may be pickled and used after a fork and from
    several threads.

    Parameters
    ----------
    paths : one finished target directory, or several of one teacher.

    Raises
    ------
    UserError : unfinished targets, different teachers, or an utterance in two directories.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path]) -> None:
        self.paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        self.manifests = [Manifest.load(path) for path in self.paths]
        require_same_teacher(dict(zip(map(str, self.paths), self.manifests, strict=True)))
        self.width = self.manifests[0].width
        self.codec = build_codec(self.manifests[0].settings.codec, self.paths[0])
        self._index = _merged({path: read_scp(path) for path in self.paths})
        self._forget_files()

    def __getitem__(self, utterance: str) -> np.ndarray:
        return self.codec.decode(self.stored(utterance))

    def stored(self, utterance: str) -> np.ndarray:
        """The stored array, [S, columns of the codec]: vectors, or codes uint8.

        Raises
        ------
        KeyError : no such utterance.
        UserError : its ark is missing, damaged, or of another width.
        """
        path, offset, key = self._index[utterance]
        with self._lock_of_this_process():
            stored = _read(self._open(path), key, offset, path)
        expected = self.codec.stored_width(self.width)
        if stored.ndim != 2 or stored.shape[1] != expected:
            raise UserError(
                f"{path}: utterance {utterance}: shape {stored.shape}, "
                f"the manifest has width {expected}; {WAY_OUT}"
            )
        return stored

    def __contains__(self, utterance: object) -> bool:
        return utterance in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def keys(self) -> list[str]:
        """All utterance ids, sorted within each directory."""
        return list(self._index)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in {"_files", "_lock", "_process"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget_files()

    def _forget_files(self) -> None:
        self._files: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def _lock_of_this_process(self) -> threading.Lock:
        # a fork shares file positions with its parent, so each process opens its own files
        if self._process != os.getpid():
            self._forget_files()
        return self._lock

    def _open(self, path: Path) -> BinaryIO:
        if path not in self._files:
            try:
                self._files[path] = open(path, "rb")
            except FileNotFoundError:
                raise UserError(f"{path}: missing although {SCP} names it; {WAY_OUT}") from None
            if len(self._files) > MAX_OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        return self._files[path]


def read_scp(directory: Path) -> dict[str, tuple[str, int]]:
    """Read targets.scp: utterance id -> (ark file relative to the directory, offset in bytes).

    Raises
    ------
    UserError : missing, damaged or changed.
    """
    path = directory / SCP
    index: dict[str, tuple[str, int]] = {}
    files: dict[str, str] = {}  # one string for all entries of an ark
    try:
        stored = path.read_bytes()
        lines = stored.decode("utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {WAY_OUT}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged, not UTF-8 ({error}); {WAY_OUT}") from error
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, 1):
        utterance, _, place = line.partition(" ")
        file, _, offset = place.rpartition(":")
        if not file or "/" in file or not offset.isdecimal() or len(offset) > 18:
            raise UserError(
                f"{path}:{number}: expected `utterance ark:offset` with an ark beside this file, "
                f"found {line[:200]!r}; {WAY_OUT}"
            )
        index[sys.intern(utterance)] = (files.setdefault(file, file), int(offset))
    require_unchanged(path, stored, WAY_OUT)
    return index


def _merged(
    indexes: dict[Path, dict[str, tuple[str, int]]],
) -> dict[str, tuple[Path, int, str]]:
    """Give ark, offset, and the key there: of utterances that share an entry, the first one."""
    merged: dict[str, tuple[Path, int, str]] = {}
    twice: list[str] = []
    for directory, index in indexes.items():
        twice += [utterance for utterance in index if utterance in merged]
        keys: dict[tuple[str, int], str] = {}
        paths = {file: directory / file for file in {file for file, _ in index.values()}}
        for utterance, place in index.items():
            file, offset = place
            merged[utterance] = (paths[file], offset, keys.setdefault(place, utterance))
    if twice:
        raise UserError(
            f"{', '.join(map(str, indexes))}: {len(twice)} utterance(s) in more than one of them, "
            f"e.g. {', '.join(twice[:5])}; give the sets distinct utterance ids"
        )
    return merged


def _read(stream: BinaryIO, utterance: str, offset: int, path: Path) -> np.ndarray:
    """Read one entry, checking that the ark has this very utterance there."""
    import kaldiio

    key = f"{utterance} ".encode()
    stream.seek(max(0, offset - len(key)))
    head = stream.read(len(key) + 3)
    # kaldiio would unpickle an entry marked PKL; nothing here is ever written so
    if head[: len(key)] != key or head[len(key) :] == b"PKL":
        raise UserError(
            f"{path}: offset {offset} does not hold utterance {utterance}; the file is damaged or "
            f"belongs to another dump: {WAY_OUT}"
        )
    stream.seek(offset - len(key))
    try:
        return next(kaldiio.load_ark(stream))[1]
    except Exception as error:
        raise UserError(
            f"{path}: utterance {utterance} cannot be decoded ({error}); the file is damaged: "
            f"{WAY_OUT}"
        ) from error
