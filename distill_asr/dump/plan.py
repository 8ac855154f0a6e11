"""What a dump has to do for each data dir: which shards, which of them are there already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.dump.progress import SAMPLES_AN_HOUR, Progress
from distill_asr.dump.shard import ShardTask
from distill_asr.dump.source import AudioSource
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.targets.manifest import MANIFEST
from distill_asr.targets.shards import ShardRecord, record_path
from distill_asr.targets.verify import check_targets
from distill_asr.targets.writer import TargetWriter, clear, leftover_problems, remove_unfinished

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir
    from distill_asr.dump.loaded import TeacherTraits
    from distill_asr.dump.source import DataSource
    from distill_asr.targets.manifest import Settings
    from distill_asr.teachers import TeacherConfig


@dataclass(frozen=True)
class DumpJob:
    """One data dir through one teacher."""

    directory: Path  # dump/<set>/targets/<name>
    config: TeacherConfig
    facts: TeacherTraits
    settings: Settings  # what decides the numbers
    source: DataSource
    data_dir: DataDir

    @property
    def finished(self) -> bool:
        """Whether there are finished targets, of any teacher."""
        return (self.directory / MANIFEST).exists()

    def problems(self, reread: bool) -> list[str]:
        """Report why the existing targets cannot be kept or continued."""
        if not self.finished:
            return leftover_problems(self.directory, self.settings)
        return check_targets(
            self.directory, self.data_dir, self.settings, text=self.config.text, reread=reread
        )


def refuse_or_clear(jobs: list[DumpJob], overwrite: bool) -> list[str]:
    """Throw away what is in the way if that is wanted, and give what must be refused.

    What matches is kept and never recomputed.

    Parameters
    ----------
    jobs : one a data dir.
    overwrite : it is wanted; nothing is refused then.
    """
    found = {job.directory: job.problems(reread=overwrite) for job in jobs}
    if not overwrite:
        return [problem for problems in found.values() for problem in problems]
    for directory, problems in found.items():
        if problems:
            clear(directory)
    return []


class SetDump:
    """The unfinished targets of one data dir.

    Parameters
    ----------
    shard_utts : utterances a shard; those with the same item count once.
    """

    def __init__(self, job: DumpJob, shard_utts: int) -> None:
        self.job = job
        self._writer = TargetWriter(job.directory, job.settings)
        groups = job.source.groups()
        self._shards = [
            sorted(utterance for group in groups[first : first + shard_utts] for utterance in group)
            for first in range(0, len(groups), shard_utts)
        ]
        self._missing = set(range(len(self._shards)))
        self.disk = 0  # bytes of the shards that are there
        left = [n for n in self._missing if record_path(job.directory, n).exists()]
        job.source.file_digests(u for number in left for u in self._shards[number])  # at once
        for number in left:
            record = self._writer.record(number, job.source.sha256(self._shards[number]))
            if record is not None:
                self._missing.remove(number)
                self.disk += record.shard.bytes
        self._computed = self.missing_amount
        self._begin = time.monotonic()

    @property
    def missing_amount(self) -> int:
        """How much is still to be computed."""
        return sum(self.job.source.amount(self._shards[number]) for number in self._missing)

    @property
    def complete(self) -> bool:
        """Whether every shard is there."""
        return not self._missing

    def tasks(self) -> Iterator[ShardTask]:
        """The shards that are missing, one by one."""
        job, directory = self.job, self.job.directory.absolute()
        self._begin = time.monotonic()
        for number in sorted(self._missing):
            part = job.source.part(self._shards[number])
            yield ShardTask(directory, number, job.settings, self._writer.owner, part)

    def shard_written(self, number: int) -> int:
        """Note that a worker has finished a shard; give its bytes."""
        record = ShardRecord.load(record_path(self.job.directory, number))
        self._missing.remove(number)
        if record.file_digests:
            self.job.source.learn(record.file_digests)
        return record.shard.bytes

    def finish(self) -> None:
        """Write the files that mark complete targets as finished, and report it."""
        job = self.job
        manifest = self._writer.finish(
            len(self._shards),
            job.directory.name,
            job.config.model or job.config.kind,
            job.facts.step_ms,
            job.source.fingerprint(),
            job.facts.tokens,
        )
        seconds = time.monotonic() - self._begin
        unit = "frames" if job.facts.step_ms else "positions"
        print(
            f"{job.directory}: {len(job.source.ids)} utterances, {manifest.frames} {unit} of width "
            f"{manifest.width}; computed {_speed(job.source, self._computed, seconds)}"
        )


class DumpPlan:
    """The missing shards of several data dirs as pieces of work, numbered as they are given out."""

    def __init__(self, sets: list[SetDump]) -> None:
        self.sets = sets
        self._given: dict[int, tuple[SetDump, int, int]] = {}

    def pieces(self) -> Iterator[tuple[ShardTask]]:
        """Arguments of ``compute_shard``."""
        tasks = ((one, task) for one in self.sets for task in one.tasks())
        for piece, (one, task) in enumerate(tasks):
            self._given[piece] = (one, task.number, task.amount)
            yield (task,)

    def ended(self, piece: int) -> tuple[SetDump, int, int]:
        """Note that a piece is done; give whose it was, its amount, and its bytes on disk."""
        one, number, amount = self._given.pop(piece)
        return one, amount, one.shard_written(number)

    def progress(self) -> Progress:
        """Progress through all of it, where it stands now."""
        names = [str(one.job.directory) for one in self.sets]
        audio = all(isinstance(one.job.source, AudioSource) for one in self.sets)
        total = sum(one.job.source.amount(one.job.source.ids) for one in self.sets)
        missing = sum(one.missing_amount for one in self.sets)
        disk = sum(one.disk for one in self.sets)
        name = names[0] if len(names) == 1 else f"{len(names)} sets"
        return Progress(name, audio, total, total - missing, disk)


def sample(source: DataSource, most: int, seconds: float) -> DataSource:
    """A few items from all over a source, at least one.

    Parameters
    ----------
    source : the data dir.
    most : items at most.
    seconds : audio at most, the first item's excepted.
    """
    firsts = [group[0] for group in source.groups()]
    step = max(1, len(firsts) // most)
    chosen: list[str] = []
    for utterance in firsts[step // 2 :: step][:most]:
        long = isinstance(source, AudioSource) and source.amount([*chosen, utterance])
        if not chosen or long <= seconds * SAMPLE_RATE:
            chosen.append(utterance)
    return source.part(chosen)


def skip(job: DumpJob) -> None:
    """Leave finished targets as they are, and report it."""
    remove_unfinished(job.directory)
    what = "audio" if job.source.reads == "audio" else "data"
    print(f"{job.directory}: complete, of this teacher and {what}; skipped")


def _speed(source: DataSource, amount: int, seconds: float) -> str:
    if isinstance(source, AudioSource):
        speed = amount / SAMPLE_RATE / seconds
        hours = amount / SAMPLES_AN_HOUR
        return f"{hours:.2f} h of audio in {seconds:.0f} s, {speed:.1f} times real time"
    return f"{amount} sentences in {seconds:.0f} s, {amount / seconds:.1f} a second"
