"""The verb ``dump``: what a teacher says about the audio of data dirs, onto disk."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from distill_asr.data.datadir import DataDir
    from distill_asr.targets.manifest import Settings
    from distill_asr.targets.source import AudioSource
    from distill_asr.teachers import Teacher, TeacherConfig

READ_AHEAD = 2  # batches of audio waiting for the teacher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.description = (
        "Write the states of a frozen teacher to <data dir>/targets/<name>. Killed at any moment, "
        "the same command continues; finished targets of the same teacher and audio are skipped."
    )
    parser.add_argument("data_dirs", nargs="+", metavar="DATA_DIR", help="prepared, dump/<set>")
    parser.add_argument("--teacher", required=True, metavar="YAML", help="conf/teacher/*.yaml")
    parser.add_argument("--name", help="of the targets (default: the teacher file's name)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument(
        "--batch-seconds", type=float, help="padded audio in one teacher call (default: the YAML's)"
    )
    parser.add_argument(
        "--shard-utts", type=int, default=200, help="utterances in one file (default: 200)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace targets of another teacher or other audio, and damaged ones",
    )


def run(args: argparse.Namespace) -> int:
    """Dump each data dir in turn."""
    from distill_asr.data.datadir import DataDir
    from distill_asr.targets.source import BadSamplesError
    from distill_asr.targets.writer import locked
    from distill_asr.teachers import load_teacher

    config = _checked(args)
    # all the data is looked at before the first second is computed
    sources = _sources([DataDir.read(path) for path in args.data_dirs])
    teacher = load_teacher(config, args.device)
    _require_long_enough(sources, teacher)
    name = args.name or Path(args.teacher).stem
    jobs = [Job(s.path / "targets" / name, name, config, teacher, s) for s in sources]
    with ExitStack() as locks:
        for job in jobs:
            locks.enter_context(locked(job.directory))
        _refuse_or_clear(jobs, args.overwrite)
        for number, job in enumerate(jobs):
            try:
                _dump_set(job, args.shard_utts)
            except BadSamplesError as error:
                # name every bad file now, not one a run
                found = [problem for j in jobs[number:] for problem in j.source.problems()]
                raise UserError(found or error.problems) from error
    return 0


@dataclass(frozen=True)
class Job:
    """One data dir through one teacher."""

    directory: Path  # dump/<set>/targets/<name>
    name: str
    config: TeacherConfig
    teacher: Teacher
    source: AudioSource

    @property
    def settings(self) -> Settings:
        """What decides the numbers."""
        return self.config.settings(self.teacher.fingerprint)


def _checked(args: argparse.Namespace) -> TeacherConfig:
    from distill_asr.teachers import TeacherConfig

    problems = []
    if len({Path(path).resolve() for path in args.data_dirs}) < len(args.data_dirs):
        problems.append(f"data dirs: one is given twice in {' '.join(args.data_dirs)}")
    if args.shard_utts < 1:
        problems.append(f"--shard-utts: given {args.shard_utts}, expected at least 1")
    if args.batch_seconds is not None and not 0 < args.batch_seconds < float("inf"):
        problems.append(f"--batch-seconds: given {args.batch_seconds}, expected more than 0")
    if args.name is not None and (args.name.startswith(".") or Path(args.name).name != args.name):
        problems.append(f"--name: given {args.name!r}, expected a plain directory name")
    try:
        config = TeacherConfig.read(args.teacher)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    return replace(config, batch_seconds=args.batch_seconds or config.batch_seconds)


def _sources(data_dirs: list[DataDir]) -> list[AudioSource]:
    from distill_asr.targets.source import AudioSource

    sources, problems = [], []
    for data_dir in data_dirs:
        try:
            sources.append(AudioSource(data_dir))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return sources


def _require_long_enough(sources: list[AudioSource], teacher: Teacher) -> None:
    problems = [
        f"{source.path}: utterance {utterance}: {source.wav[utterance]}: {count} samples, the "
        f"teacher needs at least {teacher.min_samples}; drop it with `distill-asr prepare`"
        for source in sources
        for utterance, count in source.num_samples.items()
        if count < teacher.min_samples
    ]
    if problems:
        raise UserError(problems)


def _refuse_or_clear(jobs: list[Job], overwrite: bool) -> None:
    """Targets in the way are an error, or are thrown away; what matches is never recomputed."""
    from distill_asr.targets.writer import clear, leftover_problems

    found = {}
    for job in jobs:
        found[job.directory] = (
            _finished_problems(job, checksums=overwrite)
            if _is_finished(job)
            else leftover_problems(job.directory, job.settings)
        )
    if overwrite:
        for directory, problems in found.items():
            if problems:
                clear(directory)
    elif any(found.values()):
        raise UserError([problem for problems in found.values() for problem in problems])


def _is_finished(job: Job) -> bool:
    from distill_asr.targets.manifest import MANIFEST

    return (job.directory / MANIFEST).exists()


def _finished_problems(job: Job, checksums: bool) -> list[str]:
    from distill_asr.targets.verify import check_targets

    return check_targets(job.directory, job.source, job.settings, checksums=checksums, audio=True)


def _dump_set(job: Job, shard_utts: int) -> None:
    from distill_asr.targets.writer import TargetWriter, remove_unfinished

    if _is_finished(job):
        remove_unfinished(job.directory)
        print(f"{job.directory}: complete, of this teacher and audio; skipped")
        return
    begin = time.monotonic()
    source, teacher = job.source, job.teacher
    writer = TargetWriter(job.directory, job.settings)
    ids = list(source.wav)
    shards = [ids[first : first + shard_utts] for first in range(0, len(ids), shard_utts)]
    digests = [source.audio_sha256(shard) for shard in shards]
    finished = [writer.has(number, digest) for number, digest in enumerate(digests)]
    done = [u for shard, skip in zip(shards, finished, strict=True) if skip for u in shard]
    with _progress(job, done) as bar:
        for number, shard in enumerate(shards):
            if not finished[number]:
                writer.write_shard(number, digests[number], _states(job, shard, bar))
    manifest = writer.finish(
        len(shards), job.name, job.config.model, teacher.step_ms, source.fingerprint()
    )
    computed = source.seconds(ids) - source.seconds(done)
    taken = time.monotonic() - begin
    print(
        f"{job.directory}: {len(ids)} utterances, {manifest.frames} frames of width "
        f"{manifest.width}; computed {computed / 3600:.2f} h of audio in {taken:.0f} s, "
        f"{computed / taken:.1f} times real time"
    )


def _states(job: Job, utterances: list[str], bar: tqdm) -> Iterator[tuple[str, np.ndarray]]:
    """Run a shard through the teacher, the next batches being read meanwhile."""
    from distill_asr.targets.source import SAMPLE_RATE, batches

    source = job.source
    groups = batches(source.num_samples, utterances, job.config.batch_seconds)
    begin, first = time.monotonic(), bar.n
    for group, waveforms in _ahead(lambda g: [source.read(u) for u in g], groups):
        yield from zip(group, job.teacher.states(waveforms), strict=True)
        bar.update(source.samples(group))
        speed = (bar.n - first) / SAMPLE_RATE / (time.monotonic() - begin)
        bar.set_postfix_str(f"{speed:.1f} x real time")


def _ahead(
    read: Callable[[list[str]], list[np.ndarray]], groups: list[list[str]]
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Pairs of a group and what it reads to, read in a thread a few groups ahead."""
    waiting: deque[tuple[list[str], Future]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for group in groups:
            waiting.append((group, pool.submit(read, group)))
            if len(waiting) > READ_AHEAD:
                front, future = waiting.popleft()
                yield front, future.result()
        for front, future in waiting:
            yield front, future.result()


def _progress(job: Job, done: list[str]) -> tqdm:
    from tqdm import tqdm

    from distill_asr.targets.source import SAMPLE_RATE

    return tqdm(
        desc=str(job.directory),
        total=job.source.samples(job.source.wav),
        initial=job.source.samples(done),
        unit_scale=1 / SAMPLE_RATE / 3600,
        bar_format="{desc}: {n:.2f}/{total:.2f} h |{bar}| {elapsed}<{remaining}{postfix}",
    )
