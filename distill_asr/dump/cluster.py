"""Workers on a cluster, through dask.distributed: conf/cluster/*.yaml.

A piece whose worker is lost is given to another one by dask's scheduler. Shards go straight from
the workers into the target directory, which all of them must see under the same path.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_asr.dump.loaded import LoadedTeacher
from distill_asr.dump.machine import default_threads, usable_cores
from distill_asr.dump.workers import Report, Work, outcome, result_of
from distill_asr.errors import UserError, nearest
from distill_asr.io.yaml import load_config

if TYPE_CHECKING:
    from distill_asr.teachers import TeacherConfig

_KINDS = ("local", "slurm", "ssh")
_KEYS = ("kind", "workers", "threads", "wait_minutes", "options")
_REQUIRED = {"local": (), "slurm": ("cores", "memory"), "ssh": ("hosts",)}
# options that follow from our own keys
OURS = {
    "n_workers": "`workers:`",
    "threads_per_worker": "`threads:`",
    "processes": "`workers:`, one a process",
    "asynchronous": "nothing, it cannot be changed",
}
IN_ADVANCE = 2  # pieces for each worker, so that none waits for its next one
_LOOK = 1.0  # seconds between two looks at a cluster that starts


@dataclass(frozen=True)
class ClusterConfig:
    """A validated cluster file."""

    path: str
    kind: str  # local | slurm | ssh
    workers: int = 1  # processes; with ssh it follows from the hosts
    threads: int | None = None  # of each; None: a share of the cores
    wait_minutes: float = 10  # for the first worker
    options: dict[str, Any] = field(default_factory=dict)  # of dask's class

    @classmethod
    def read(cls, path: str | Path) -> ClusterConfig:
        """Read and validate a cluster file, which may extend another.

        Raises
        ------
        UserError : all mistakes of the file at once; dask is not installed.
        """
        content = load_config(path)
        problems = [f"{path}: {problem}" for problem in _problems(content)]
        if problems:
            raise UserError(problems)
        given = {key: value for key, value in content.items() if value is not None}
        if given["kind"] == "ssh":
            given["workers"] = len(given["options"]["hosts"]) - 1
        return cls(path=str(path), **given)

    def worker_threads(self) -> int | None:
        """Threads of a worker; None where they depend on the worker's host."""
        if self.threads is None and self.kind == "local":
            return default_threads(self.workers)
        return (
            self.options["cores"] if self.threads is None and self.kind == "slurm" else self.threads
        )

    def start(self) -> Any:
        """Start dask's cluster object, with its workers on their way."""
        _, start = _dask_class(self.kind)
        if self.kind == "local":
            plain = {"dashboard_address": None, "memory_limit": 0, "silence_logs": logging.CRITICAL}
            ours = {"n_workers": self.workers, "threads_per_worker": 1, "processes": True}
            return start(**plain | self.options | ours)
        if self.kind == "slurm":
            # a worker computes one piece at a time, however many cores its job has
            more = ["--nthreads", "1", *self.options.get("worker_extra_args", [])]
            options = {"python": sys.executable, **self.options, "worker_extra_args": more}
            cluster = start(**options, processes=1)
            cluster.scale(jobs=self.workers)
            return cluster
        more = {"nthreads": 1, **self.options.get("worker_options", {})}
        return start(**{"remote_python": sys.executable, **self.options, "worker_options": more})


class Cluster:
    """Workers that dask starts and looks after."""

    def __init__(self, config: TeacherConfig, device: str, cluster: ClusterConfig) -> None:
        from distributed import Client

        self._arguments = (config, device, cluster.worker_threads())
        self._path = cluster.path
        self._window = IN_ADVANCE * cluster.workers
        _hush_dask(logging.ERROR)
        with _failures() as failures:
            try:
                self._cluster = cluster.start()
            except (OSError, RuntimeError, TypeError, ValueError) as error:
                raise UserError(
                    f"{self._path}: the cluster does not start: {_one_line(error)}; correct "
                    "`options:`, or the hosts' settings"
                ) from error
            self._client = Client(self._cluster)
            try:
                self._wait(cluster, failures)
            except BaseException:
                self.close()  # jobs that wait in a queue are taken back
                raise

    def map(self, work: Work, pieces: Iterable[tuple], report: Report) -> Iterator[tuple[int, Any]]:
        """See ``Workers``; a piece is reported when it has ended."""
        from distributed import as_completed

        todo = enumerate(pieces)
        first = {self._submit(work, piece): n for n, piece in islice(todo, self._window)}
        numbers = {future.key: number for future, number in first.items()}
        ended = as_completed(first)
        for future in ended:
            result = self._result(future)
            for number, piece in islice(todo, 1):
                following = self._submit(work, piece)
                numbers[following.key] = number
                ended.add(following)
            yield numbers.pop(future.key), result

    def close(self) -> None:
        """See ``Workers``."""
        _hush_dask()
        # nobody is left to be told; dask asserts that a worker it could not start had started
        with suppress(OSError, TimeoutError, AssertionError):
            self._client.close()
            self._cluster.close()

    def _wait(self, cluster: ClusterConfig, failures: list[str]) -> None:
        """Return when the first worker is there."""
        print(f"{cluster.path}: waiting for the first of {cluster.workers} worker(s)", flush=True)
        latest = time.monotonic() + 60 * cluster.wait_minutes
        while time.monotonic() < latest:
            with suppress(TimeoutError):
                return self._client.wait_for_workers(1, timeout=_LOOK)
            if failures:
                raise UserError(
                    f"{self._path}: no worker can be started: {failures[0]}; correct `options:`, "
                    "or run the command where jobs can be submitted"
                )
        raise UserError(
            f"{self._path}: no worker came within {cluster.wait_minutes:g} minutes; look whether "
            "its job still waits (`squeue`) and what the workers logged, or set `wait_minutes:` "
            "to more"
        )

    def _submit(self, work: Work, piece: tuple) -> Any:
        return self._client.submit(_on_worker, *self._arguments, work, piece, pure=False)

    def _result(self, future: Any) -> Any:
        from distributed.comm import CommClosedError

        if future.status == "finished":
            # the scheduler may end between a piece's end and the transfer of its result
            with suppress(CommClosedError):
                return result_of(future.result())
        if future.status == "error":
            raise UserError(
                f"{self._path}: the cluster gave up on a shard: {future.exception()}; if "
                "workers die at it repeatedly, they lack memory: request more, or use smaller "
                "batches, and run the same command again"
            )
        raise UserError(
            f"{self._path}: the cluster's scheduler is gone; finished shards are kept: run the "
            "same command again"
        )


_loaded: dict[str, LoadedTeacher] = {}  # of this worker process


def _on_worker(
    config: TeacherConfig, device: str, threads: int | None, work: Work, piece: tuple
) -> tuple:
    """Run a piece in a worker process, which loads the teacher for the first one."""
    key = repr((config, device))
    if key not in _loaded:
        _loaded[key] = LoadedTeacher(config, device, threads or usable_cores())
    return outcome(work, _loaded[key], lambda amount: None, piece)


def _problems(content: dict[str, Any]) -> list[str]:
    problems = [f"unknown key {key!r}{nearest(key, _KEYS)}" for key in content if key not in _KEYS]
    kind, options = content.get("kind"), content.get("options")
    if kind not in _KINDS:
        problems.append(f"kind: given {kind!r}{nearest(kind, _KINDS)}")
    minutes = content.get("wait_minutes")
    if minutes is not None and (type(minutes) not in (int, float) or not minutes > 0):
        problems.append(f"wait_minutes: given {minutes!r}, expected a number of minutes over 0")
    for key in ("workers", "threads"):
        value = content.get(key)
        if value is not None and (type(value) is not int or value < 1):
            problems.append(f"{key}: given {value!r}, expected a whole number from 1 on")
    if kind == "ssh" and content.get("workers") is not None:
        problems.append(
            "workers: follows from `options.hosts`, one on each but the first; remove it"
        )
    if options is not None and not isinstance(options, dict):
        return [*problems, f"options: given {options!r}, expected a mapping"]
    return problems + (_option_problems(kind, options or {}) if kind in _KINDS else [])


def _option_problems(kind: str, options: dict[str, Any]) -> list[str]:
    allowed, _ = _dask_class(kind)
    problems = [
        f"options.{name}: follows from {OURS[name]}; remove it" for name in options if name in OURS
    ]
    problems += [
        f"options.{name}: unknown{nearest(name, allowed)}"
        for name in options
        if name not in allowed and name not in OURS
    ]
    problems += [f"options.{name}: missing" for name in _REQUIRED[kind] if not options.get(name)]
    hosts = options.get("hosts")
    if hosts and not (isinstance(hosts, list) and len(hosts) > 1):
        problems.append(
            f"options.hosts: given {hosts!r}, expected a list: the scheduler's host, then one for "
            "each worker"
        )
    if (cores := options.get("cores")) is not None and type(cores) is not int:
        problems.append(f"options.cores: given {cores!r}, expected a whole number")
    return problems


def _dask_class(kind: str) -> tuple[set[str], Any]:
    """Names of the arguments it takes, and the class or function that starts a cluster."""
    try:
        import distributed

        if kind == "ssh":
            import asyncssh  # noqa: F401  dask itself would report this only while it connects

            takers: list[Any] = [distributed.SSHCluster]
        elif kind == "slurm":
            from dask_jobqueue import SLURMCluster
            from dask_jobqueue.core import Job
            from dask_jobqueue.slurm import SLURMJob

            takers = [SLURMCluster, SLURMJob, Job]
        else:
            takers = [distributed.LocalCluster, distributed.Nanny, distributed.Worker]
    except ImportError as error:
        raise UserError(
            f"--cluster: a cluster of kind {kind} needs dask ({error}); install it with "
            '`pip install "distill_asr[cluster]"`'
        ) from error
    names = {name for taker in takers for name in inspect.signature(taker).parameters}
    return names - {"self", "kwargs", "worker_kwargs", "job_kwargs", "base_class_kwargs"}, takers[0]


def _hush_dask(level: int = logging.CRITICAL) -> None:
    """Keep dask's messages below a level off the terminal; by default what breaks in closing too.

    What breaks while connections close is of no consequence any more.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(level)


@contextmanager
def _failures() -> Iterator[list[str]]:
    """Collect what fails in dask's own thread, which dask logs and does not raise."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            found.append(_one_line(error or record.getMessage()))

    collector = Collector(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("tornado.application", "asyncio")]
    for logger in loggers:
        logger.addHandler(collector)
        logger.propagate = False
    try:
        yield found
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
            logger.propagate = True


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
