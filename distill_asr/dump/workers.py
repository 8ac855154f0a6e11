"""Processes that each hold the teacher and work on one piece at a time."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Protocol

from distill_asr.dump.loaded import LoadedTeacher
from distill_asr.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from distill_asr.teachers import TeacherConfig

ATTEMPTS = 3  # at a piece whose worker dies
LAST_WORDS = 10.0  # seconds that an idle worker has to end
Work = Callable[..., Any]  # work(loaded teacher, report, *arguments)
Report = Callable[[int, int], None]  # report(number of the piece, how much of it is done)


class Workers(Protocol):
    """Something that runs work where the teacher is."""

    def map(self, work: Work, pieces: Iterable[tuple], report: Report) -> Iterator[tuple[int, Any]]:
        """Run ``work(loaded, report, *piece)``; give (number of the piece, result) as they end.

        Parameters
        ----------
        work : a function that can be pickled.
        pieces : its further arguments, one tuple a piece.
        report : is told the number of a piece and how much of it is done.

        Raises
        ------
        UserError : of a piece; or a piece whose worker died again and again.
        """

    def close(self) -> None:
        """End the workers, even busy ones."""


def call(workers: Workers, work: Work, *arguments: Any) -> Any:
    """Run one piece on any worker and give its result.

    Parameters
    ----------
    workers : hold the teacher.
    work : as of ``Workers.map``.
    arguments : the piece.

    Raises
    ------
    UserError : as ``Workers.map``.
    """
    ((_, result),) = workers.map(work, [arguments], lambda number, amount: None)
    return result


class ThisProcess:
    """No other process at all: pieces are worked on here, one after the other."""

    def __init__(self, config: TeacherConfig, device: str, threads: int) -> None:
        self._loaded = LoadedTeacher(config, device, threads)

    def map(self, work: Work, pieces: Iterable[tuple], report: Report) -> Iterator[tuple[int, Any]]:
        """See ``Workers``."""
        for number, piece in enumerate(pieces):
            yield number, work(self._loaded, lambda amount, n=number: report(n, amount), *piece)

    def close(self) -> None:
        """See ``Workers``."""


@dataclass
class _Worker:
    """One process, and what it is at."""

    process: BaseProcess
    pipe: Connection
    device: str
    number: int | None = None  # of its piece
    piece: tuple = ()


class Processes:
    """One process for each device named; a device may be named several times.

    A process that dies is replaced, and its piece is done again.
    """

    def __init__(self, config: TeacherConfig, devices: list[str], threads: int) -> None:
        self._config = config
        self._threads = threads
        self._workers = [self._start(device) for device in devices]

    def map(self, work: Work, pieces: Iterable[tuple], report: Report) -> Iterator[tuple[int, Any]]:
        """See ``Workers``."""
        todo, again = enumerate(pieces), deque()
        attempts: Counter[int] = Counter()
        while True:
            for worker in self._workers:
                if worker.number is None:
                    given = again.popleft() if again else next(todo, None)
                    if given is None:
                        break
                    worker.number, worker.piece = given
                    with suppress(OSError):  # if it died idle, that is seen below
                        worker.pipe.send((work, worker.piece))
            busy = [worker for worker in self._workers if worker.number is not None]
            if not busy:
                return
            for worker in _speaking(busy):
                message = _received(worker)
                if message is None:
                    report(worker.number, 0)
                    attempts[worker.number] += 1
                    self._replace(worker, attempts[worker.number])
                    again.append((worker.number, worker.piece))
                elif message[0] == "progress":
                    report(worker.number, message[1])
                else:
                    number, worker.number, worker.piece = worker.number, None, ()
                    yield number, result_of(message)

    def close(self) -> None:
        """See ``Workers``."""
        for worker in self._workers:
            worker.pipe.close()  # at which the idle ones end by themselves
            if worker.number is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(LAST_WORDS)
            worker.process.kill()
            worker.process.join()

    def _start(self, device: str) -> _Worker:
        # spawn: a forked child of a process with threads (torch, BLAS) may hang
        context = get_context("spawn")
        here, there = context.Pipe()
        arguments = (there, self._config, device, self._threads)
        with _environment(OMP_NUM_THREADS=str(self._threads)):
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
        there.close()
        return _Worker(process, here, device)

    def _replace(self, worker: _Worker, attempts: int) -> None:
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode
        if attempts >= ATTEMPTS:
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            hint = (
                ", which the kernel sends when memory runs out" if code == -signal.SIGKILL else ""
            )
            raise UserError(
                f"a worker on {worker.device} died {attempts} times at the same shard "
                f"({reason}{hint}); use fewer workers (--nj) or smaller batches "
                "(--batch-seconds, --batch-tokens), and run the same command again"
            )
        fresh = self._start(worker.device)
        self._workers[self._workers.index(worker)] = fresh


def _speaking(busy: list[_Worker]) -> list[_Worker]:
    """Wait for workers that have sent a message or have died."""
    things = {thing: w for w in busy for thing in (w.pipe, w.process.sentinel)}
    ready = {id(things[thing]) for thing in pipes.wait(list(things))}
    return [worker for worker in busy if id(worker) in ready]


def _received(worker: _Worker) -> tuple | None:
    """The next message, or None from the dead."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        return None


def result_of(message: tuple) -> Any:
    """Give what ``outcome`` found, or raise it.

    Raises
    ------
    UserError : the piece raised it.
    RuntimeError : the piece raised something else; holds the traceback.
    """
    kind, content = message
    if kind == "done":
        return content
    if kind == "user error":
        error_class, problems = content
        raise error_class(problems)
    raise RuntimeError(f"in a worker:\n{content}")


def outcome(work: Work, loaded: LoadedTeacher, report: Callable, arguments: tuple) -> tuple:
    """Run a piece; give ("done", result), ("user error", ...) or ("broken", traceback)."""
    try:
        return "done", work(loaded, report, *arguments)
    except UserError as error:
        return "user error", (type(error), error.problems)
    except Exception:
        return "broken", traceback.format_exc()


def _serve(pipe: Connection, config: TeacherConfig, device: str, threads: int) -> None:
    """What a worker process runs, until its parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    loaded = LoadedTeacher(config, device, threads)
    while True:
        try:
            work, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(work, loaded, lambda done: pipe.send(("progress", done)), arguments))


def _end_with_parent() -> None:
    """End a worker whose parent was killed, which would keep memory and a device occupied."""
    pipes.wait([parent_process().sentinel])
    os._exit(1)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for processes started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
