"""One shard: read ahead in threads, the teacher in this one, encoding and writing in another."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_asr.errors import UserError
from distill_asr.targets.shards import ShardWriter

if TYPE_CHECKING:
    import numpy as np

    from distill_asr.dump.loaded import LoadedTeacher
    from distill_asr.dump.source import DataSource
    from distill_asr.targets.manifest import Settings

_READERS = 4  # threads; decoding does not hold the interpreter's lock
READ_AHEAD = 2  # batches waiting for the teacher
WRITE_BEHIND = 2  # batches waiting for the disk
_PATIENCE = 0.1  # seconds between looks at whether the other thread still runs

NamedStates = list[tuple[str, "np.ndarray"]]


@dataclass(frozen=True)
class ShardTask:
    """The data from which a worker computes a shard, on any machine."""

    directory: Path  # absolute
    number: int
    settings: Settings
    owner: str  # which run of `dump` this is for
    source: DataSource  # of the shard's utterances alone

    @property
    def amount(self) -> int:
        """How much there is to do, as ``DataSource.amount`` counts."""
        return self.source.amount(self.source.ids)


def compute_shard(loaded: LoadedTeacher, progress: Callable[[int], None], task: ShardTask) -> None:
    """Compute and write a shard.

    Parameters
    ----------
    loaded : the teacher.
    progress : is told how much of it is done so far.
    task : the shard.

    Raises
    ------
    UserError : the teacher is not the one of the targets, or the shard cannot be written.
    """
    source, teacher = task.source, loaded.teacher
    if teacher.fingerprint != task.settings.weights_sha256:
        raise UserError(
            f"{task.directory}: another model under the same name on another machine, or loaded "
            "since; make them the same, and run the same command again"
        )
    same = {first: others for first, *others in source.groups() if others}
    batches = source.part(group[0] for group in source.groups()).batches(teacher, loaded.config)
    writer = ShardWriter(task.directory, task.settings, task.owner, loaded.device)
    digest, files = source.sha256(source.ids), source.file_digests(source.ids)
    done = 0
    with _Writing(lambda states: writer.write(task.number, digest, states, same, files)) as writing:
        for batch, items in _ahead(source, batches):
            writing.put(list(zip(batch, teacher.states(items), strict=True)))
            done += source.amount(name for first in batch for name in (first, *same.get(first, ())))
            progress(done)


def _ahead(source: DataSource, batches: list[list[str]]) -> Iterator[tuple[list[str], list[Any]]]:
    """Pairs of a batch and its items, which are read while earlier ones are worked on."""
    pool = ThreadPoolExecutor(_READERS)
    waiting: deque = deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(source.read, utterance) for utterance in batch]))
            if len(waiting) > READ_AHEAD:
                front, items = waiting.popleft()
                yield front, [item.result() for item in items]
        for front, items in waiting:
            yield front, [item.result() for item in items]
    finally:
        pool.shutdown(cancel_futures=True)


class _AbandonedError(Exception):
    """Marks the end of the queue for the writing thread."""


class _Writing:
    """Runs ``write(pairs)`` in a thread, where ``pairs`` is what ``put`` is given."""

    def __init__(self, write: Callable[[Iterator[tuple[str, np.ndarray]]], Any]) -> None:
        self._queue: queue.Queue[NamedStates | Exception | None] = queue.Queue(WRITE_BEHIND)
        self._pool = ThreadPoolExecutor(1)
        self._written = self._pool.submit(write, self._taken())

    def put(self, states: NamedStates) -> None:
        """Hand over; waits while the disk is behind, and raises what went wrong there."""
        self._offer(states)
        if self._written.done():
            self._written.result()

    def _offer(self, states: NamedStates | Exception | None) -> None:
        while not self._written.done():
            try:
                return self._queue.put(states, timeout=_PATIENCE)
            except queue.Full:
                continue

    def _taken(self) -> Iterator[tuple[str, np.ndarray]]:
        while (states := self._queue.get()) is not None:
            if isinstance(states, Exception):
                raise states
            yield from states

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._offer(None if error is None else _AbandonedError())
            if error is None:
                self._written.result()
        finally:
            self._pool.shutdown()
