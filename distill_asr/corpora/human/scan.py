"""Reads recordings, G.722 among them, and mixes stereo; finds their length and silent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill_asr.corpora.generated import SAMPLING_RATE
from distill_asr.corpora.human.clips import Clip
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import MIX, BadAudioError, read_audio, resample
from distill_asr.io.files import write_text_atomic
from distill_asr.io.parallel import parallel_map

_SILENT = 0.005  # of full scale: a recording whose loudest sample is below holds no speech
_SHORTEST = 0.1  # seconds
_CACHE = "scan.tsv"
_AT_ONCE = 4000  # recordings between two writes of the cache


@dataclass(frozen=True)
class _Heard:
    """Length and loudest sample of a recording."""

    seconds: float
    peak: float

    @property
    def is_silent(self) -> bool:
        """Whether it is silent."""
        return self.peak < _SILENT or self.seconds < _SHORTEST


def read_clip(path: str | Path) -> np.ndarray:
    """Samples float32 [N] at 16 kHz within [-1, 1], channels mixed.

    Raises
    ------
    BadAudioError : missing, empty, damaged or unreadable.
    """
    if Path(path).suffix == ".g722":
        return _g722(path)
    samples, facts = read_audio(path, MIX)
    return np.clip(resample(samples, facts.rate, SAMPLING_RATE), -1, 1)


def scan(clips: Sequence[Clip], folder: Path, nj: int) -> dict[Path, _Heard]:
    """Length and loudness of each recording; ``folder/scan.tsv`` keeps them for the next time.

    Parameters
    ----------
    clips : recordings, whose text is not looked at.
    folder : where the table is kept.
    nj : worker processes.

    Raises
    ------
    UserError : recordings that cannot be read, all of them.
    """
    known = _read_cache(folder / _CACHE)
    stamps = {clip.path: f"{clip.path.resolve()}\t{clip.path.stat().st_size}" for clip in clips}
    new = [clip for clip in clips if stamps[clip.path] not in known]
    if any(clip.path.suffix == ".g722" for clip in new):
        _require_av()
    problems = Problems()
    for start in range(0, len(new), _AT_ONCE):
        part = new[start : start + _AT_ONCE]
        description = f"scan, {start + len(part)} of {len(new)}"
        for clip, heard in zip(part, parallel_map(_hear, part, nj, description), strict=True):
            if isinstance(heard, _Heard):
                known[stamps[clip.path]] = heard
            else:
                problems.add(heard.kind, f"{clip.path}: {heard.detail}; unpack or copy it again")
        _write_cache(folder / _CACHE, known)
    problems.raise_if_any()
    return {clip.path: known[stamps[clip.path]] for clip in clips}


def _read_cache(path: Path) -> dict[str, _Heard]:
    """What an earlier scan found; a line that was cut short is read again from its audio."""
    found = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            *stamp, seconds, peak = line.split("\t")
            found["\t".join(stamp)] = _Heard(float(seconds), float(peak))
        except ValueError:
            continue
    return found


def _write_cache(path: Path, known: dict[str, _Heard]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}\t{one.seconds:.3f}\t{one.peak:.5f}\n" for key, one in known.items()]
    write_text_atomic(path, "".join(lines))


def _hear(clip: Clip) -> _Heard | BadAudioError:
    try:
        samples = read_clip(clip.path)
    except BadAudioError as bad:
        return bad
    return _Heard(len(samples) / SAMPLING_RATE, float(np.max(np.abs(samples), initial=0.0)))


def _require_av() -> None:
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UserError(
            "Asterisk's prompts are G.722, which PyAV reads: `pip install 'distill_asr[human]'`, "
            "or `pip install av`"
        ) from error


def _g722(path: str | Path) -> np.ndarray:
    """Raw G.722 of 64 kbit/s: 8000 bytes are a second at 16 kHz."""
    import av

    if not Path(path).is_file() or not Path(path).stat().st_size:
        raise BadAudioError("empty audio", "no such file, or 0 bytes")
    try:
        with av.open(str(path), format="g722") as container:
            frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    except av.FFmpegError as error:
        raise BadAudioError("unreadable audio", f"{error.strerror} (G.722)") from error
    return np.concatenate(frames).astype(np.float32) / 32768
