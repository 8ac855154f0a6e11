"""Recordings alone, for the part without transcripts."""

from __future__ import annotations

from pathlib import Path

from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems
from distill_asr.start.contract import Clip, Reader, ReadOptions, Source
from distill_asr.start.readers.folders import audio_files, foreign_files, has_audio, short_names


class AudioFolderReader(Reader):
    """A folder of audio files, or one of them."""

    name = "audio"
    summary = "a folder of audio files without texts"

    def recognises(self, path: Path) -> bool:
        """Whether there is any recording."""
        return path.is_dir() and has_audio(path)

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """A clip a file, named by its path below the folder."""
        folder = path.resolve()
        files = audio_files(folder)
        names = short_names([str(file.relative_to(folder)) for file in files])
        clips = [
            Clip(name, AudioLocation(str(file)), str(file))
            for name, file in zip(names, files, strict=True)
        ]
        report_foreign(folder, problems)
        if not clips:
            problems.add(
                "no audio",
                f"{path}: no audio file that can be read; give a folder with wav, flac or mp3",
            )
        return Source(path, self.name, clips)


def report_foreign(folder: Path, problems: Problems) -> None:
    """Add the recordings of formats that cannot be read."""
    for file in foreign_files(folder):
        problems.add(
            "foreign format",
            f"{file}: {file.suffix} is not supported; convert it (`ffmpeg -i IN -ac 1 OUT.wav`), "
            "or move it away",
        )
