"""lhotse's manifests: cuts, or recordings with supervisions; read as what they are, JSON Lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems
from distill_asr.start.contract import Clip, Reader, ReadOptions, Source

ENDINGS = (".jsonl.gz", ".jsonl")
_WHOLE = 0.01  # seconds that a supervision may lack of its recording and still be all of it

_Row = tuple[str, dict[str, Any]]


class LhotseReader(Reader):
    """A manifest of cuts; or a folder of cuts, or of recordings and supervisions."""

    name = "lhotse"
    summary = "lhotse cuts, or recordings and supervisions (jsonl, jsonl.gz)"

    def recognises(self, path: Path) -> bool:
        """Whether a first line is a cut, a recording or a supervision."""
        return any(_kind(one) is not None for one in _manifests(path))

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """A clip a supervision; its split is the file's name where there are several of cuts."""
        files = {one: _kind(one) for one in _manifests(path)}
        cuts = [one for one, kind in files.items() if kind == "cut"]
        clips: list[Clip] = []
        for file in cuts:
            split = file.name.split(".")[0] if len(cuts) > 1 else None
            for where, row in _rows(file, problems):
                with _complete(where, problems):
                    clips += _of_cut(where, row, split, file, problems)
        if not cuts:
            clips = _of_manifests(files, problems)
        note = f"{len(cuts)} file(s) of cuts" if cuts else "recordings and supervisions"
        return Source(path, self.name, clips, (note,))


def _manifests(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.endswith(ENDINGS) else []
    try:
        return sorted(one for one in path.iterdir() if one.name.endswith(ENDINGS))
    except OSError:
        return []


def _kind(path: Path) -> str | None:
    """What the first row is."""
    for _, row in _rows(path, Problems()):
        if "recording_id" in row and "text" in row:
            return "supervision"
        if "sources" in row and "sampling_rate" in row:
            return "recording"
        if "supervisions" in row or row.get("type") in ("MonoCut", "MultiCut", "MixedCut"):
            return "cut"
        return None
    return None


def _rows(path: Path, problems: Problems) -> Iterator[_Row]:
    opened = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if isinstance(row, dict):
                    yield f"{path}:{number}", row
                else:
                    problems.add("bad row", f"{path}:{number}: expected an object")
    except (OSError, EOFError, ValueError) as error:  # ValueError: no JSON, no UTF-8
        problems.add("unreadable manifest", f"{path}: after line {number}: {error}")


def _of_cut(
    where: str, row: dict[str, Any], split: str | None, file: Path, problems: Problems
) -> Iterator[Clip]:
    if row.get("type", "MonoCut") != "MonoCut" or not isinstance(row.get("recording"), dict):
        problems.add(
            "not a plain cut",
            f"{where}: {row.get('type', 'a cut')} {row.get('id')}: expected a MonoCut with its "
            "recording; save them so (`trim_to_supervisions`, no mixing)",
        )
        return
    place = _location(where, row["recording"], file, problems)
    supervisions = row.get("supervisions") or []
    if place is None:
        return
    begin, length = float(row.get("start", 0)), float(row.get("duration", 0))
    whole: list[dict[str, Any]] = [{"start": 0.0, "duration": length, "id": row.get("id")}]
    for one in supervisions or whole:
        start = begin + max(0.0, float(one.get("start", 0)))
        name = row["id"] if len(supervisions) <= 1 else one["id"]
        seconds = min(float(one["duration"]), begin + length - start)
        yield _clip(where, str(name), place, (start, seconds), one, row["recording"], split)


def _of_manifests(files: dict[Path, str | None], problems: Problems) -> list[Clip]:
    recordings: dict[str, tuple[str, dict[str, Any], Path]] = {}
    for file in (one for one, kind in files.items() if kind == "recording"):
        for where, row in _rows(file, problems):
            with _complete(where, problems):
                recordings[row["id"]] = (where, row, file)
    clips = []
    for file in (one for one, kind in files.items() if kind == "supervision"):
        for where, row in _rows(file, problems):
            with _complete(where, problems):
                found = recordings.get(row["recording_id"])
                if found is None:
                    missing = f"recording {row['recording_id']} is missing"
                    problems.add("text without audio", f"{where}: {row.get('id')}: {missing}")
                    continue
                place = _location(found[0], found[1], found[2], problems)
                part = (float(row["start"]), float(row["duration"]))
                if place is not None:
                    clips.append(_clip(where, str(row["id"]), place, part, row, found[1], None))
    return clips


@contextmanager
def _complete(where: str, problems: Problems) -> Iterator[None]:
    """Report a row without what lhotse writes, or with it in another form."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        problems.add("bad row", f"{where}: {found}; expected a row as lhotse saves it; save anew")


def _location(
    where: str, recording: dict[str, Any], manifest: Path, problems: Problems
) -> str | None:
    """The file of a recording; others of lhotse's sources are reported."""
    sources = recording.get("sources") or []
    if len(sources) != 1 or sources[0].get("type") != "file" or recording.get("transforms"):
        kinds = ", ".join(str(one.get("type")) for one in sources) or "nothing"
        more = " with transforms" if recording.get("transforms") else ""
        problems.add(
            "unreadable recording",
            f"{where}: {recording.get('id')}: audio from {kinds}{more}; expected one file; write "
            "the audio out (`cuts.save_audios(...)`) and give those cuts",
        )
        return None
    path = Path(sources[0]["source"])
    places = (Path.cwd(), *manifest.resolve().parents)
    if not path.is_absolute():
        path = next((one / path for one in places if (one / path).is_file()), Path.cwd() / path)
    return str(path)


def _clip(
    where: str,
    name: str,
    place: str,
    part: tuple[float, float],
    supervision: dict[str, Any],
    recording: dict[str, Any],
    split: str | None,
) -> Clip:
    start, length = part
    all_of_it = start < _WHOLE and start + length > float(recording["duration"]) - _WHOLE
    audio = AudioLocation(place) if all_of_it else AudioLocation(place, start, start + length)
    return Clip(
        name,
        audio,
        where,
        supervision.get("text"),
        supervision.get("speaker"),
        supervision.get("language"),
        split,
    )
