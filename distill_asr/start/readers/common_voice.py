"""A release of Mozilla Common Voice, read as the corpus of that name does."""

from __future__ import annotations

from pathlib import Path

from distill_asr.corpora import commonvoice
from distill_asr.data.sources import AudioLocation
from distill_asr.errors import Problems
from distill_asr.start.contract import Clip, Reader, ReadOptions, Source


class CommonVoiceReader(Reader):
    """A language's folder, with its official splits."""

    name = "commonvoice"
    summary = "a language of Common Voice (clips/ and train.tsv, dev.tsv, test.tsv)"

    def recognises(self, path: Path) -> bool:
        """Whether it has clips and the three tables."""
        return (path / "clips").is_dir() and all(
            (path / f"{name}.tsv").is_file() for name in commonvoice.SETS
        )

    def read(self, path: Path, options: ReadOptions, problems: Problems) -> Source:
        """The clips of the official splits."""
        folder = path.resolve()
        splits = commonvoice.read_splits(folder, problems)
        clips = [
            Clip(
                key,
                AudioLocation(one.path),
                f"{folder / f'{name}.tsv'}: {Path(one.path).name}",
                one.sentence,
                one.speaker,
                folder.name,
                name,
            )
            for name, members in splits.items()
            for key, one in members.items()
        ]
        note = f"language {folder.name}, by the folder's name (--language)"
        return Source(path, self.name, clips, (note,))
