"""Targets to disk, a shard at a time, so that a kill costs at most the shards in work.

While a dump is unfinished, ``.partial/<shard>.json`` stands for each finished shard: it is written
after the ark, and holds what the index and the manifest will need. ``targets.scp`` comes after the
last shard and ``manifest.json`` after that; a directory with a manifest is finished.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.targets.integrity import write_checksums
from distill_asr.targets.manifest import MANIFEST, SCP, Manifest, Settings, Source
from distill_asr.targets.shards import (
    OWNER,
    PARTIAL,
    ShardRecord,
    ShardWriter,
    ark_name,
    record_path,
    reporting,
)
from distill_asr.targets.statistics import Statistics


class TargetWriter:
    """Brings one target directory into being; use it with the directory locked.

    Parameters
    ----------
    directory : dump/<set>/targets/<teacher>
    settings : what decides the numbers; shards left by a killed dump count only if equal.

    Attributes
    ----------
    owner : name of this run; ``ShardWriter``s that work for it carry it.
    """

    def __init__(self, directory: str | Path, settings: Settings) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self.owner = uuid.uuid4().hex
        with reporting(self.directory):
            (self.directory / PARTIAL).mkdir(parents=True, exist_ok=True)
            write_text_atomic(self.directory / PARTIAL / OWNER, self.owner)
            _remove_temporaries(self.directory)

    def record(self, number: int, source_sha256: str) -> ShardRecord | None:
        """The record of a shard if it is finished, of this source, and its file whole; else None.

        Parameters
        ----------
        number : of the shard.
        source_sha256 : of everything in it.
        """
        path = record_path(self.directory, number)
        if not path.exists():
            return None
        try:
            record = ShardRecord.load(path)
        except UserError:
            return None  # damaged: the shard is done again
        if record.shard.file != ark_name(number):
            return None
        if record.settings != self.settings or record.source_sha256 != source_sha256:
            return None
        ark = self.directory / record.shard.file
        return record if ark.is_file() and ark.stat().st_size == record.shard.bytes else None

    def write_shard(
        self,
        number: int,
        source_sha256: str,
        states: Iterable[tuple[str, np.ndarray]],
        same: Mapping[str, Sequence[str]] | None = None,
    ) -> ShardRecord:
        """Write a shard in this process.

        Parameters
        ----------
        number, source_sha256, states, same : as of ``ShardWriter.write``.

        Raises
        ------
        UserError : as ``ShardWriter.write``.
        """
        writer = ShardWriter(self.directory, self.settings, self.owner)
        return writer.write(number, source_sha256, states, same)

    def finish(
        self,
        num_shards: int,
        name: str,
        model: str,
        step_ms: float | None,
        source: Source,
        tokens: tuple[str, ...] | None = None,
    ) -> Manifest:
        """Write the index, then the manifest, then drop what only an unfinished dump needs.

        Parameters
        ----------
        num_shards : all of them must be there.
        name : of the teacher.
        model : name or directory of its model.
        step_ms : from one position to the next; None on token level.
        source : fingerprint of the data.
        tokens : what the columns of posteriors stand for; None for other states.
        """
        places: dict[str, str] = {}
        parts, shards = [], []
        for number in range(num_shards):
            record = ShardRecord.load(record_path(self.directory, number))
            places |= {u: f"{record.shard.file}:{at}" for u, at in record.offsets.items()}
            parts.append(record.statistics)
            shards.append(record.shard)
        statistics = Statistics.pool(parts)
        manifest = Manifest(
            name=name,
            model=model,
            **vars(self.settings),
            step_ms=step_ms,
            width=len(statistics.mean),
            frames=statistics.count,
            mean=statistics.mean.tolist(),
            std=statistics.std.tolist(),
            source=source,
            shards=shards,
            tokens=tokens,
        )
        with reporting(self.directory):
            _remove_temporaries(self.directory)  # of workers that died
            self._remove_foreign_arks({shard.file for shard in shards})
            scp = "".join(f"{u} {places[u]}\n" for u in sorted(places))
            write_text_atomic(self.directory / SCP, scp)
            write_checksums(self.directory, {SCP: scp, MANIFEST: manifest.to_text()})
            write_text_atomic(self.directory / MANIFEST, manifest.to_text())
            shutil.rmtree(self.directory / PARTIAL)
        return manifest

    def _remove_foreign_arks(self, keep: set[str]) -> None:
        for path in self.directory.glob("targets.*.ark"):
            if path.name not in keep:
                path.unlink()


def clear(directory: str | Path) -> None:
    """Remove targets, the manifest first, so that a kill in between leaves nothing finished."""
    directory = Path(directory)
    with reporting(directory):
        (directory / MANIFEST).unlink(missing_ok=True)
        if directory.exists():
            shutil.rmtree(directory)


def leftover_problems(directory: str | Path, settings: Settings) -> list[str]:
    """Report whether an unfinished dump of another teacher lies in the directory.

    Parameters
    ----------
    directory : of the targets.
    settings : of the dump to be done.
    """
    paths = sorted((Path(directory) / PARTIAL).glob("[0-9]*.json"))
    for path in paths:
        try:
            record = ShardRecord.load(path)
        except UserError:
            continue  # damaged: the shard is done again
        if differences := settings.differences(record.settings):
            return [
                f"{directory}: holds {len(paths)} shard(s) of an unfinished dump of another "
                f"teacher ({', '.join(differences)}); finish it with its own teacher config, "
                "choose another --name, or throw it away with --overwrite"
            ]
    return []


def remove_unfinished(directory: Path) -> None:
    """Drop what a finished dump does not need, left if it was killed at its very end."""
    with reporting(directory):
        _remove_temporaries(directory)
        if (directory / PARTIAL).exists():
            shutil.rmtree(directory / PARTIAL)


def _remove_temporaries(directory: Path) -> None:
    for pattern in (".*.tmp", f"{PARTIAL}/.*.tmp"):
        for path in directory.glob(pattern):
            # a process that outlived its dump may be removing its own
            path.unlink(missing_ok=True)
