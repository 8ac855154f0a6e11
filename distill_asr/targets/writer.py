"""Targets to disk, a shard at a time, so that a kill costs at most one shard.

While a dump is unfinished, ``.partial/<shard>.json`` stands for each finished shard: it is written
after the ark, and holds what the index and the manifest will need. ``targets.scp`` comes after the
last shard and ``manifest.json`` after that; a directory with a manifest is finished.
"""

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import kaldiio
import numpy as np

from distill_asr.errors import UserError
from distill_asr.files import atomic_write, write_text_atomic
from distill_asr.targets.checksum import file_sha256
from distill_asr.targets.codecs import build_codec
from distill_asr.targets.manifest import MANIFEST, SCP, Manifest, Settings, Shard, Source
from distill_asr.targets.statistics import Statistics

PARTIAL = ".partial"


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard of an unfinished dump. Legend: E width."""

    settings: Settings
    audio_sha256: str  # of the shard's own utterances, in which their ids are contained
    shard: Shard
    offsets: dict[str, int]
    statistics: Statistics

    def save(self, path: Path) -> None:
        """Write the record, atomically."""
        content = asdict(self)
        content["statistics"]["mean"] = self.statistics.mean.tolist()
        content["statistics"]["squares"] = self.statistics.squares.tolist()
        write_text_atomic(path, json.dumps(content))

    @classmethod
    def load(cls, path: Path) -> "ShardRecord":
        """Read a record back, bit for bit."""
        content = json.loads(path.read_text(encoding="utf-8"))
        settings, statistics = content["settings"], content["statistics"]
        settings["layers"] = tuple(settings["layers"])
        return cls(
            Settings(**settings),
            content["audio_sha256"],
            Shard(**content["shard"]),
            content["offsets"],
            Statistics(
                statistics["count"], np.array(statistics["mean"]), np.array(statistics["squares"])
            ),
        )


class TargetWriter:
    """Writes one target directory; use it inside ``locked(directory)``.

    Parameters
    ----------
    directory : dump/<set>/targets/<teacher>
    settings : what decides the numbers; shards left by a killed dump count only if equal.
    """

    def __init__(self, directory: str | Path, settings: Settings) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self._codec = build_codec(settings.codec)
        with reporting(self.directory):
            (self.directory / PARTIAL).mkdir(parents=True, exist_ok=True)
            _remove_temporaries(self.directory)
        self._records = _records(self.directory)

    def has(self, number: int, audio_sha256: str) -> bool:
        """Whether shard ``number`` is finished, of the given audio, and its file is whole."""
        record = self._records.get(number)
        if record is None or record.settings != self.settings:
            return False
        if record.audio_sha256 != audio_sha256:
            return False
        path = self.directory / record.shard.file
        return path.is_file() and path.stat().st_size == record.shard.bytes

    def write_shard(
        self, number: int, audio_sha256: str, states: Iterable[tuple[str, np.ndarray]]
    ) -> None:
        """Consume (utterance, float32 [S, E]) pairs and keep them as shard ``number``."""
        path = self.directory / f"targets.{number:04d}.ark"
        with reporting(path):
            self._record_path(number).unlink(missing_ok=True)
            with atomic_write(path) as temporary:
                offsets, statistics, size = self._write_ark(temporary, states)
                sha256 = file_sha256(temporary)
            shard = Shard(path.name, len(offsets), statistics.count, size, sha256)
            record = ShardRecord(self.settings, audio_sha256, shard, offsets, statistics)
            record.save(self._record_path(number))
        self._records[number] = record

    def finish(
        self, num_shards: int, name: str, model: str, step_ms: float | None, source: Source
    ) -> Manifest:
        """Write the index, then the manifest, then drop what only an unfinished dump needs."""
        records = [self._records[number] for number in range(num_shards)]
        statistics = Statistics.pool(record.statistics for record in records)
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
            shards=[record.shard for record in records],
        )
        places = {u: f"{r.shard.file}:{o}" for r in records for u, o in r.offsets.items()}
        with reporting(self.directory):
            self._remove_foreign_arks({record.shard.file for record in records})
            scp = "".join(f"{u} {places[u]}\n" for u in sorted(places))
            write_text_atomic(self.directory / SCP, scp)
            manifest.save(self.directory)
            shutil.rmtree(self.directory / PARTIAL)
        return manifest

    def _write_ark(
        self, path: Path, states: Iterable[tuple[str, np.ndarray]]
    ) -> tuple[dict[str, int], Statistics, int]:
        offsets: dict[str, int] = {}
        parts: dict[str, Statistics] = {}
        with open(path, "wb") as stream:
            for utterance, values in states:
                stored = self._codec.encode(utterance, values)
                offsets[utterance] = stream.tell() + len(f"{utterance} ".encode())
                # Kaldi's own matrix format where it can say it, else numpy's inside the ark
                matrix = stored.dtype == np.float32 and stored.ndim == 2
                kaldiio.save_ark(
                    stream, {utterance: stored}, write_function=None if matrix else "numpy"
                )
                parts[utterance] = Statistics.of(self._codec.decode(stored))
            size = stream.tell()
        # by id, so that the batching does not show in the last bit
        return offsets, Statistics.pool(parts[u] for u in sorted(parts)), size

    def _record_path(self, number: int) -> Path:
        return self.directory / PARTIAL / f"{number:04d}.json"

    def _remove_foreign_arks(self, keep: set[str]) -> None:
        for path in self.directory.glob("targets.*.ark"):
            if path.name not in keep:
                path.unlink()


@contextmanager
def locked(directory: str | Path) -> Iterator[None]:
    """Hold the directory's lock (a file beside it); UserError if another process has it."""
    directory = Path(directory)
    path = directory.parent / f".{directory.name}.lock"
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "a")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{directory}: another dump is writing these targets now; wait for it to finish, "
                "or choose another --name"
            ) from None
        yield


@contextmanager
def reporting(path: str | Path) -> Iterator[None]:
    """Turn a failure to write (disk full, read-only, no permission) into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be written ({error.strerror or error}); finished "
            "shards are kept: make room or mend the permissions and run the same command again"
        ) from error


def clear(directory: str | Path) -> None:
    """Remove targets, the manifest first, so that a kill in between leaves nothing finished."""
    directory = Path(directory)
    with reporting(directory):
        (directory / MANIFEST).unlink(missing_ok=True)
        if directory.exists():
            shutil.rmtree(directory)


def leftover_problems(directory: str | Path, settings: Settings) -> list[str]:
    """Say whether an unfinished dump of another teacher lies in the directory."""
    records = _records(Path(directory))
    for record in records.values():
        if differences := settings.differences(record.settings):
            return [
                f"{directory}: holds {len(records)} shard(s) of an unfinished dump of another "
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
            path.unlink()


def _records(directory: Path) -> dict[int, ShardRecord]:
    paths = sorted((directory / PARTIAL).glob("[0-9]*.json"))
    return {int(path.stem): ShardRecord.load(path) for path in paths}
