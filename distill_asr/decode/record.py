"""What a decoding was made from, so that the same one is not done twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import DataDir
from distill_asr.data.record import prepared_audio_identity
from distill_asr.decode.options import DecodeOptions, FusionOptions
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig, read_values
from distill_asr.experiments.layout import AVERAGED, Experiment
from distill_asr.experiments.record import altered_files
from distill_asr.io.checksum import file_sha256
from distill_asr.io.files import write_text_atomic
from distill_asr.io.identity import CACHE
from distill_asr.io.locks import locked
from distill_asr.io.records import FILES, DamagedRecordError, read_record, vouched, write_record
from distill_asr.scoring.decoded import DECODED, WORDS, altered_words

_OUTPUTS = ("nbest.jsonl", WORDS)
# of the record: decide nothing; the last two are of older versions
NOTES = {"data", FILES, "outputs", "seconds"}


@dataclass(frozen=True)
class SearchSetup:
    """A checkpoint of an experiment, with the options of the search; nothing is loaded.

    ``decided_by`` holds, as checksums and values, all that its words depend on, but the audio.
    """

    experiment: Experiment
    checkpoint: str
    options: DecodeOptions
    decided_by: dict[str, Any]

    @classmethod
    def read(
        cls, directory: Path, options: DecodeOptions, checkpoint: str = AVERAGED
    ) -> SearchSetup:
        """Check options and files.

        Parameters
        ----------
        directory : the student's experiment.
        options : how to search.
        checkpoint : name of the weights there.

        Raises
        ------
        UserError : everything wrong with the options, and every missing or damaged file of the
            student and the language model.
        """
        problems, experiment = options.problems(), Experiment(directory)
        files: list[Path] = []
        try:
            files = ModelConfig.read(directory).files
        except UserError as error:
            problems += error.problems
        problems += _missing(directory / checkpoint, directory)
        if options.fusion is not None:
            problems += _fusion_problems(options.fusion)
        if not problems:
            problems = altered_files(experiment, [directory / checkpoint])
        if problems:
            raise UserError(problems)
        decided_by = {
            "checkpoint": file_sha256(directory / checkpoint),
            "config": [file_sha256(file) for file in files],
            **options.deciding(),
        }
        if options.fusion is not None:
            lm = options.fusion.directory
            decided_by["lm"] = {
                "checkpoint": file_sha256(lm / options.fusion.checkpoint),
                "config": file_sha256(Experiment(lm).config),
                "weight": options.fusion.weight,
            }
        return cls(experiment, checkpoint, options, decided_by)

    def made_from(self, data: DataDir) -> dict[str, Any]:
        """What its words for a data directory depend on, for a record.

        Raises
        ------
        UserError : audio is missing or cannot be read.
        """
        return made_from(self.decided_by, data)


def made_from(decided_by: dict[str, Any], data: DataDir) -> dict[str, Any]:
    """What words depend on, for a record: the recogniser's part, and the audio.

    Parameters
    ----------
    decided_by : the recogniser's part, such as the weights' SHA-256 and the search.
    data : prepared.

    Raises
    ------
    UserError : audio is missing, cannot be read, or is not as it was prepared.
    """
    audio = prepared_audio_identity(data.wav, data.path / CACHE)
    listed = json.dumps([audio, data.num_samples], sort_keys=True)
    return decided_by | {
        "data": str(data.path),
        "utterances": len(data.wav),
        "audio": hashlib.sha256(listed.encode()).hexdigest(),
    }


@dataclass(frozen=True)
class Decoding:
    """Words of one prepared directory: where they go, and what they are made from."""

    data: DataDir
    output: Path
    made_from: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether the hypotheses are complete, and from the same weights, audio and options."""
        record = _read_record(self.output)
        return (
            record is not None
            and _deciding(record) == _deciding(self.made_from)
            and all((self.output / name).is_file() for name in _OUTPUTS)
            and not altered_words(self.output, _OUTPUTS)
        )

    def write(self, found: dict[str, list[str]]) -> None:
        """The files, the record last."""
        (self.output / DECODED).unlink(missing_ok=True)
        for name in _OUTPUTS:
            lines = "".join(f"{line}\n" for line in found[name])
            write_text_atomic(self.output / name, lines)
        outputs = vouched({name: self.output / name for name in _OUTPUTS})
        write_record(self.output / DECODED, self.made_from | {FILES: outputs})


def _read_record(output: Path) -> dict[str, Any] | None:
    """The record of a decoding; None if it is missing or was cut short."""
    try:
        return read_record(output / DECODED)
    except (OSError, DamagedRecordError):
        return None


def note_seconds(experiment: Experiment, test_set: str, seconds: float) -> None:
    """Note how long a decoding took; beside the decodings, whose files are the same every time.

    Parameters
    ----------
    experiment : the student's.
    test_set : name of the data directory.
    seconds : the wall clock's.
    """
    with locked(experiment.decode_seconds, "noting times"):
        known = read_seconds(experiment) | {test_set: round(seconds, 2)}
        write_text_atomic(experiment.decode_seconds, json.dumps(known, indent=1) + "\n")


def read_seconds(experiment: Experiment) -> dict[str, float]:
    """How long the decodings took, by test set; of those that were noted."""
    try:
        known = json.loads(experiment.decode_seconds.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _deciding(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in NOTES}


def _missing(checkpoint: Path, directory: Path) -> list[str]:
    if checkpoint.is_file():
        return []
    return [f"{checkpoint}: no such file; is the training in {directory} finished?"]


def _fusion_problems(fusion: FusionOptions) -> list[str]:
    problems = _missing(fusion.directory / fusion.checkpoint, fusion.directory)
    try:
        read_values(Experiment(fusion.directory).config, ())
    except UserError as error:
        problems += error.problems
    return problems
