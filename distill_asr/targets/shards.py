"""One shard of targets: an ark file, and the record that stands for it while a dump is unfinished.

Any process that sees the directory may write a shard, on this machine or another. The process names
the dump it works for. A process that outlives its dump (the machine that gave out the work is gone)
must not write into the dump that continues it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import kaldiio
import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.checksum import file_sha256
from distill_asr.io.files import atomic_write, write_text_atomic
from distill_asr.targets.codecs import build_codec
from distill_asr.targets.manifest import Settings, Shard
from distill_asr.targets.statistics import Statistics

PARTIAL = ".partial"
OWNER = "owner"  # in it: which run of `dump` writes here


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard of an unfinished dump. Legend: E width."""

    settings: Settings
    source_sha256: str  # of the shard's own utterances, in which their ids are contained
    shard: Shard
    offsets: dict[str, int]  # of every utterance; equal for those that share an entry
    statistics: Statistics
    file_digests: dict[str, str]  # of the utterances' audio files, if it has any

    def save(self, path: Path) -> None:
        """Write the record, atomically."""
        content = asdict(self)
        content["statistics"]["mean"] = self.statistics.mean.tolist()
        content["statistics"]["squares"] = self.statistics.squares.tolist()
        text = json.dumps(content)
        write_text_atomic(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")

    @classmethod
    def load(cls, path: Path) -> ShardRecord:
        """Read a record back, bit for bit.

        Raises
        ------
        UserError : it is damaged.
        """
        checksum, _, text = path.read_bytes().partition(b"\n")
        if checksum != hashlib.sha256(text).hexdigest().encode():
            raise UserError(f"{path}: damaged; remove it, and run the same command again")
        content = json.loads(text)
        settings, statistics = content["settings"], content["statistics"]
        settings["layers"] = tuple(settings["layers"])
        content["settings"] = Settings(**settings)
        content["shard"] = Shard(**content["shard"])
        content["statistics"] = Statistics(
            statistics["count"], np.array(statistics["mean"]), np.array(statistics["squares"])
        )
        return cls(**content)


class ShardWriter:
    """Writes shards into a target directory.

    Parameters
    ----------
    directory : dump/<set>/targets/<teacher>, prepared by a ``TargetWriter``.
    settings : what decides the numbers.
    owner : the run this is for, see ``TargetWriter.owner``.
    device : to encode on, where that is heavy.
    """

    def __init__(
        self, directory: str | Path, settings: Settings, owner: str, device: str = "cpu"
    ) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self.owner = owner
        self._codec = build_codec(settings.codec, self.directory, device)

    def write(
        self,
        number: int,
        source_sha256: str,
        states: Iterable[tuple[str, np.ndarray]],
        same: Mapping[str, Sequence[str]] | None = None,
        file_digests: Mapping[str, str] | None = None,
    ) -> ShardRecord:
        """Consume (utterance, float32 [S, E]) pairs and keep them as a shard.

        Parameters
        ----------
        number : of the shard.
        source_sha256 : of everything in the shard.
        states : the pairs, in any order.
        same : by utterance, the others with the same content, which share its entry. It must be the
            first of them in the order of ids, from which a reader finds the entry's key.
        file_digests : by utterance, for the fingerprint of the whole.

        Raises
        ------
        UserError : it cannot be written, or another dump owns the directory now.
        """
        path = self.directory / ark_name(number)
        with reporting(path):
            record_path(self.directory, number).unlink(missing_ok=True)
            with atomic_write(path) as temporary:
                offsets, statistics, size = self._write_ark(temporary, states, same or {})
                sha256 = file_sha256(temporary)
                self._require_owned()
            shard = Shard(path.name, len(offsets), statistics.count, size, sha256)
            record = ShardRecord(
                self.settings, source_sha256, shard, offsets, statistics, dict(file_digests or {})
            )
            record.save(record_path(self.directory, number))
        return record

    def _write_ark(
        self,
        path: Path,
        states: Iterable[tuple[str, np.ndarray]],
        same: Mapping[str, Sequence[str]],
    ) -> tuple[dict[str, int], Statistics, int]:
        offsets: dict[str, int] = {}
        parts: dict[str, Statistics] = {}
        with open(path, "wb") as stream:
            for utterance, values in states:
                stored = self._codec.encode(utterance, values)
                place = stream.tell() + len(f"{utterance} ".encode())
                # Kaldi's own matrix format where it can hold it, else numpy's inside the ark
                matrix = stored.dtype == np.float32 and stored.ndim == 2
                kaldiio.save_ark(
                    stream, {utterance: stored}, write_function=None if matrix else "numpy"
                )
                statistics = Statistics.of(self._codec.decode(stored))
                for name in (utterance, *same.get(utterance, ())):
                    offsets[name], parts[name] = place, statistics
            size = stream.tell()
        # by id, so that the batching does not show in the last bit
        return offsets, Statistics.pool(parts[u] for u in sorted(parts)), size

    def _require_owned(self) -> None:
        path = self.directory / PARTIAL / OWNER
        if not path.is_file() or path.read_text() != self.owner:
            raise UserError(f"{self.directory}: another dump has taken over; nothing is written")


def ark_name(number: int) -> str:
    """Name of a shard's ark file."""
    return f"targets.{number:04d}.ark"


def record_path(directory: Path, number: int) -> Path:
    """Path of a shard's record.

    Parameters
    ----------
    directory : of the targets.
    number : of the shard.
    """
    return directory / PARTIAL / f"{number:04d}.json"


@contextmanager
def reporting(path: str | Path) -> Iterator[None]:
    """Turn a failure to write (disk full, read-only, no permission) into a UserError.

    Parameters
    ----------
    path : named where the failure names no file.

    Raises
    ------
    UserError : the body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be written ({error.strerror or error}); finished "
            "shards are kept: make room or correct the permissions and run the same command again"
        ) from error
