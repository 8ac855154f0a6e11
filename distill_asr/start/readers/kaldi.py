"""Kaldi data directories: one, several below a folder, or an ESPnet recipe's ``dump/raw``."""

from __future__ import annotations

from pathlib import Path

from distill_asr.data.sources import AudioLocation, read_segments
from distill_asr.errors import Problems
from distill_asr.io.tables import collect_table
from distill_asr.start.contract import Clip, Reader, ReadOptions, Source

ORIGINALS = "org"  # ESPnet's unfiltered copies of the sets beside it
PERTURBED = "_sp"  # ESPnet's ending of sets whose audio is there at three speeds


class KaldiReader(Reader):
    """``wav.scp`` with ``text``, ``utt2spk`` and ``segments`` where there are any."""

    name = "kaldi"
    summary = "a Kaldi data directory (wav.scp), several of them, or ESPnet's dump/raw"

    def recognises(self, path: Path) -> bool:
        """Whether it has a wav.scp, or folders that do."""
        return path.is_dir() and bool(_data_dirs(path))

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """The clips of each data directory; their split is the directory's name."""
        folders = _data_dirs(path)
        notes = []
        skipped = [one for one in folders if one.name.endswith(PERTURBED) and len(folders) > 1]
        if skipped:
            names = ", ".join(one.name for one in skipped)
            notes.append(f"{names}: speed-perturbed copies are left out; name one to take it")
        clips: list[Clip] = []
        for folder in folders:
            if folder not in skipped:
                clips += _clips(folder, folder.name if len(folders) > 1 else None, problems)
        return Source(path, self.name, clips, tuple(notes))


def _data_dirs(path: Path) -> list[Path]:
    """The directory itself, or those one level below it."""
    if (path / "wav.scp").is_file():
        return [path]
    try:
        below = sorted(one for one in path.iterdir() if (one / "wav.scp").is_file())
    except OSError:
        return []
    return [one for one in below if one.name != ORIGINALS]


def _clips(folder: Path, split: str | None, problems: Problems) -> list[Clip]:
    wav = collect_table(folder / "wav.scp", problems) or {}
    text = collect_table(folder / "text", problems, required=False)
    speakers = collect_table(folder / "utt2spk", problems, required=False) or {}
    languages = collect_table(folder / "utt2lang", problems, required=False) or {}
    wav = {key: _located(value, folder) for key, value in wav.items()}
    segments = folder / "segments"
    audio = (
        read_segments(segments, wav, problems)
        if segments.is_file()
        else {key: AudioLocation(value) for key, value in wav.items()}
    )
    _report_unmatched(folder, audio, text, problems)
    table = "segments" if segments.is_file() else "wav.scp"
    return [
        Clip(
            key,
            place,
            f"{folder / table}: {key}",
            None if text is None else text.get(key),
            speakers.get(key),
            languages.get(key),
            split,
            kaldi=True,
        )
        for key, place in audio.items()
        if text is None or key in text
    ]


def _report_unmatched(
    folder: Path, audio: dict[str, AudioLocation], text: dict[str, str] | None, problems: Problems
) -> None:
    for key in sorted((text or {}).keys() - audio.keys()):
        message = f"{folder / 'text'}: {key}: has a text but no audio; remove the line"
        problems.add("text without audio", message)
    if text is not None:
        for key in sorted(audio.keys() - text.keys()):
            message = f"{folder}: {key}: has audio but no text; add a line to text, or remove it"
            problems.add("audio without text", message)


def _located(value: str, folder: Path) -> str:
    """An entry of wav.scp with an absolute path.

    Recipes write paths as seen from their own directory, which is the data directory's or one
    above it; commands stay as they are.
    """
    if value.endswith("|") or value.startswith("|") or Path(value).is_absolute():
        return value
    file = AudioLocation(value).file or value
    here = Path.cwd()
    for place in (here, *folder.resolve().parents, folder.resolve()):
        if (place / file).is_file():
            return str(place / value)
    return str(here / value)
