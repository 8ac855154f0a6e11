"""Recordings as people have them, a few short ones, and the kinds of sources made of them."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

_RATE = 16000


class Recordings:
    """Recordings of noise of 16 kHz below a folder, 0.2 s and longer, with texts.

    Parameters
    ----------
    folder : where; the audio is in ``<folder>/wavs``.
    speakers : how many, at most 8.
    each : recordings of each speaker.
    language : what the column ``language`` says.
    seed : same seed, same noise.
    """

    def __init__(
        self, folder: Path, speakers: int = 4, each: int = 4, language: str = "en", seed: int = 0
    ) -> None:
        import soundfile

        self.folder = folder
        self.rows: list[dict[str, str]] = []
        rng = np.random.default_rng(seed)
        for speaker in range(speakers):
            (folder / "wavs").mkdir(parents=True, exist_ok=True)
            for number in range(each):
                name = f"wavs/s{speaker}_{number}.wav"
                samples = 0.1 * rng.standard_normal(_RATE // 5 + 100 * number)
                soundfile.write(folder / name, samples, _RATE)
                text = f"The number {number}, said by {'abcdefgh'[speaker]}."
                row = {"path": name, "sentence": text, "speaker": f"s{speaker}"}
                self.rows.append(row | {"language": language})

    def table(self, name: str = "metadata.csv", **options: Any) -> Path:
        """Write the rows as CSV; give the file.

        Parameters
        ----------
        name : of the file in the recordings' folder.
        options : of ``csv.writer``, and ``encoding``.
        """
        path = self.folder / name
        encoding = options.pop("encoding", "utf-8")
        with open(path, "w", encoding=encoding, newline="") as stream:
            writer = csv.DictWriter(stream, list(self.rows[0]), **options)
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def json_lines(self, name: str = "metadata.jsonl") -> Path:
        """Write the rows as JSON Lines."""
        path = self.folder / name
        lines = (json.dumps(row, ensure_ascii=False) for row in self.rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def kaldi(self, folder: Path, segments: bool = False) -> Path:
        """Write a Kaldi data directory; give it.

        Parameters
        ----------
        folder : the directory; must not exist.
        segments : cut two utterances of 0.1 s from each recording.
        """
        folder.mkdir(parents=True)
        tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        cuts = []
        for row in self.rows:
            key = Path(row["path"]).stem
            tables["wav.scp"].append(f"{key} {self.folder / row['path']}")
            parts = [f"{key}-a", f"{key}-b"] if segments else [key]
            for number, part in enumerate(parts):
                tables["text"].append(f"{part} {row['sentence']} {number}")
                tables["utt2spk"].append(f"{part} {row['speaker']}")
                cuts.append(f"{part} {key} {0.1 * number:g} {0.1 * number + 0.1:g}")
        if segments:
            tables["segments"] = cuts
        for name, lines in tables.items():
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    def hugging_face(self, folder: Path, parquet: bool = False) -> Path:
        """Write what ``datasets`` writes, by pyarrow alone: audio as bytes.

        Parameters
        ----------
        folder : the data set's directory; must not exist.
        parquet : write Parquet, as on the hub; otherwise Arrow, as of ``save_to_disk``.
        """
        import pyarrow
        import pyarrow.parquet

        folder.mkdir(parents=True)
        audio = [
            {"bytes": (self.folder / row["path"]).read_bytes(), "path": Path(row["path"]).name}
            for row in self.rows
        ]
        speakers = sorted({row["speaker"] for row in self.rows})
        table = pyarrow.table(
            {
                "audio": audio,
                "text": [row["sentence"] for row in self.rows],
                "speaker_id": [speakers.index(row["speaker"]) for row in self.rows],
            }
        )
        if parquet:
            pyarrow.parquet.write_table(table, folder / "train-00000-of-00001.parquet")
            return folder
        with pyarrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as stream:
            with pyarrow.ipc.new_stream(stream, table.schema) as writer:
                writer.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        info = {"features": {"speaker_id": {"names": speakers, "_type": "ClassLabel"}}}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
        (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
        return folder

    def lhotse(self, path: Path) -> Path:
        """Write cuts, one a recording, each with one supervision."""
        import soundfile

        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            for row in self.rows:
                file, key = self.folder / row["path"], Path(row["path"]).stem
                facts = soundfile.info(file)
                recording = {
                    "id": key,
                    "sources": [{"type": "file", "channels": [0], "source": str(file)}],
                    "sampling_rate": _RATE,
                    "num_samples": facts.frames,
                    "duration": facts.duration,
                }
                supervision = {
                    "id": key, "recording_id": key, "start": 0.0, "duration": facts.duration,
                    "text": row["sentence"], "speaker": row["speaker"], "language": "en",
                }  # fmt: skip
                cut = {
                    "id": key, "start": 0.0, "duration": facts.duration, "channel": 0,
                    "supervisions": [supervision], "recording": recording, "type": "MonoCut",
                }  # fmt: skip
                stream.write(json.dumps(cut) + "\n")
        return path
