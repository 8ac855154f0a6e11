"""Hugging Face data sets on disk, by pyarrow alone: ``save_to_disk`` directories, and parquet.

An audio column holds the file's bytes, its path, or (decoded) its samples. Bytes and samples are
written out once, named by their checksum.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems, UserError, nearest
from distill_asr.io.files import atomic_write
from distill_asr.start.contract import Clip, Columns, Reader, ReadOptions, Source
from distill_asr.start.readers.columns import NAMES

if TYPE_CHECKING:
    import pyarrow

STATE, INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"
_MAGIC = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"FORM": "aiff"}


@dataclass(frozen=True)
class _Shard:
    """One file of a data set, of a split, with names of its class labels by column."""

    path: Path
    split: str | None
    labels: Mapping[str, list[str]]


class HuggingFaceReader(Reader):
    """A directory of ``save_to_disk`` or a parquet file, or a folder of them."""

    name = "huggingface"
    summary = "a Hugging Face data set (save_to_disk, or parquet) with an audio column"

    def recognises(self, path: Path) -> bool:
        """Whether there is a state of ``save_to_disk``, or parquet."""
        if path.is_file():
            return path.suffix == ".parquet"
        marks = (path / _PARTS, path / STATE)
        return any(mark.is_file() for mark in marks) or bool(_parquet(path))

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """A clip a row; embedded audio is written to ``options.embedded``."""
        _require_pyarrow()
        clips: list[Clip] = []
        notes: dict[str, None] = {}
        for shard in _shards(path, problems):
            found, note = _read_shard(shard, options, problems)
            clips += found
            notes |= dict.fromkeys(note)
        return Source(path, self.name, clips, tuple(notes))


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError(
            "Hugging Face data sets are read with pyarrow, which is not installed: "
            "pip install 'distill_asr[huggingface]'"
        ) from None


def _parquet(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))


def _shards(path: Path, problems: Problems) -> list[_Shard]:
    if path.is_file():
        return [_Shard(path, None, {})]
    if (path / _PARTS).is_file():
        names = _json(path / _PARTS, problems).get("splits", [])
        return [one for name in names for one in _saved(path / name, str(name), problems)]
    if (path / STATE).is_file():
        return _saved(path, None, problems)
    files = _parquet(path)
    # the hub's names: train-00000-of-00002.parquet, also in a folder a configuration
    splits = {file: file.stem.split("-")[0] for file in files}
    several = len(set(splits.values())) > 1
    return [_Shard(file, splits[file] if several else None, {}) for file in files]


def _saved(folder: Path, split: str | None, problems: Problems) -> list[_Shard]:
    state = _json(folder / STATE, problems)
    features = _json(folder / INFO, problems).get("features") or {}
    if state.get("_indices_files"):
        problems.add(
            "selected rows",
            f"{folder}: holds a selection by indices; save it flat "
            "(`dataset.flatten_indices().save_to_disk(...)`)",
        )
        return []
    try:
        labels = {
            name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"
        }
        files = [folder / one["filename"] for one in state["_data_files"]]
    except (AttributeError, KeyError, TypeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        names = f"{folder}: {STATE} or {INFO}: {found}"
        problems.add("damaged data set", f"{names}; save the data set again (`save_to_disk`)")
        return []
    return [_Shard(file, split, labels) for file in files]


def _json(path: Path, problems: Problems) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        problems.add("damaged data set", f"{path}: expected an object; save the data set again")
    except (OSError, ValueError) as error:
        problems.add("damaged data set", f"{path}: {error}; save the data set again")
    return {}


def _batches(path: Path) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow
    import pyarrow.parquet

    if path.suffix == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=64)
        return
    with pyarrow.memory_map(str(path)) as stream:
        try:
            yield from pyarrow.ipc.open_stream(stream)
        except pyarrow.ArrowInvalid:  # the file format instead
            stream.seek(0)
            reader = pyarrow.ipc.open_file(stream)
            yield from map(reader.get_batch, range(reader.num_record_batches))


def _read_shard(
    shard: _Shard, options: ReadOptions, problems: Problems
) -> tuple[list[Clip], list[str]]:
    import pyarrow

    clips: list[Clip] = []
    columns: Columns | None = None
    number = 0
    try:
        for batch in _batches(shard.path):
            if columns is None:
                columns = _columns(shard.path, batch.schema, options.columns, problems)
            if columns is None:
                return [], []
            wanted = [name for name in dict.fromkeys(vars(columns).values()) if name]
            for row in batch.select(wanted).to_pylist():
                number += 1
                clip = _clip(shard, number, row, columns, options, problems)
                if clip is not None:
                    clips.append(clip)
    except (OSError, pyarrow.ArrowException) as error:
        problems.add("damaged data set", f"{shard.path}: after row {number}: {error}")
    chosen = ", ".join(f"{part} in {name!r}" for part, name in vars(columns or Columns()).items()
                       if name)  # fmt: skip
    return clips, [f"columns: {chosen} (--audio-column and the like)"]


def _columns(
    path: Path, schema: pyarrow.Schema, given: Columns, problems: Problems
) -> Columns | None:
    """By the user's word, by type (audio), by name."""
    by_lower = {name.lower(): name for name in schema.names}
    found: dict[str, str | None] = {}
    for part in fields(Columns):
        name = getattr(given, part.name)
        if name is not None and name not in schema.names:
            message = f"{path}: --{part.name}-column {name!r}{nearest(name, schema.names)}"
            problems.add("no such column", message)
            return None
        named = (by_lower[one] for one in NAMES[part.name] if one in by_lower)
        found[part.name] = name or next(named, None)
    if given.audio is None:
        structs = [one.name for one in schema if _is_audio(one.type)]
        found["audio"] = structs[0] if structs else found["audio"]
    if found["text"] == found["audio"]:
        found["text"] = None
    if found["audio"] is None:
        names = ", ".join(schema.names)
        problems.add("missing column", f"{path}: no audio column among {names}; --audio-column")
        return None
    # lengths are of whole clips here; parts of a recording have a start
    if found["start"] is None:
        found["duration"] = found["end"] = None
    return Columns(**found)


def _is_audio(kind: pyarrow.DataType) -> bool:
    import pyarrow

    if not pyarrow.types.is_struct(kind):
        return False
    names = {kind.field(number).name for number in range(kind.num_fields)}
    return "bytes" in names or "array" in names


def _clip(
    shard: _Shard,
    number: int,
    row: Mapping[str, Any],
    columns: Columns,
    options: ReadOptions,
    problems: Problems,
) -> Clip | None:
    where = f"{shard.path}: row {number}"
    cells = {part: _cell(shard, row, name) for part, name in vars(columns).items()}
    found = _audio(row[columns.audio or ""], shard.path, options)
    if found is None:
        message = f"{where}: {columns.audio!r} holds neither bytes nor a path that is there"
        problems.add("text without audio", message)
        return None
    place, name = found
    if columns.text is not None and not (cells["text"] or "").strip():
        problems.add(
            "no text", f"{where}: the cell {columns.text!r} is empty; fill it, or give --skip-bad"
        )
        return None
    return Clip(
        f"{shard.split or shard.path.stem}-{number:07d}-{name}",
        AudioLocation(place),
        where,
        cells["text"],
        cells["speaker"],
        cells["language"],
        cells["split"] or shard.split,
    )


def _cell(shard: _Shard, row: Mapping[str, Any], name: str | None) -> str | None:
    value = None if name is None else row[name]
    names = shard.labels.get(name or "")
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None if value is None or value == "" else str(value)


def _audio(value: Any, shard: Path, options: ReadOptions) -> tuple[str, str] | None:
    """Where a row's audio is, and what it is called; written out if it was embedded."""
    if isinstance(value, str):
        value = {"path": value}
    if not isinstance(value, dict):
        return None
    path = value.get("path") or ""
    content = value.get("bytes")
    if content is None and value.get("array") is not None:
        content = _as_wav(value["array"], int(value["sampling_rate"]))
    if content is not None:
        ending = next((e for mark, e in _MAGIC.items() if content.startswith(mark)), "mp3")
        file = f"{hashlib.sha256(content).hexdigest()[:24]}.{ending}"
        target = options.embedded / file
        if not target.is_file():
            with atomic_write(target) as temporary:
                temporary.write_bytes(content)
        return f"{options.embedded_name}/{file}", Path(path).stem or file
    roots = [one for one in (options.audio_root, Path.cwd(), *shard.resolve().parents) if one]
    for root in roots:
        if path and (root / path).is_file():
            return str((root / path).resolve()), Path(path).stem
    return None


def _as_wav(samples: list[float], rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()
