"""What makes a teacher this one: its config and the content of its training data; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import DataDir
from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError
from distill_asr.io.checksum import file_sha256
from distill_asr.io.identity import CACHE
from distill_asr.train_teacher.settings import SpeechSettings, TextSettings


def data_identity(path: str, settings: SpeechSettings | TextSettings) -> str:
    """SHA-256 of what is trained on: sentences, or transcripts and audio.

    Parameters
    ----------
    path : a data directory, or a file of sentences for a text teacher.
    settings : of the teacher.

    Raises
    ------
    UserError : a data directory that is damaged.
    """
    place = Path(path)
    if isinstance(settings, TextSettings):
        return file_sha256(place / "text" if place.is_dir() else place)
    data = DataDir.read(place)
    found = [data.text, prepared_audio_identity(data.wav, place / CACHE, quiet=True)]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def set_problems(paths: Iterable[str], settings: SpeechSettings | TextSettings | None) -> list[str]:
    """What keeps sets from being read, all of them before the first is trained on.

    Parameters
    ----------
    paths : of training, dev and test data.
    settings : of the teacher; None where they have mistakes of their own.
    """
    problems, lacks = [], "no such file; a teacher is trained on transcribed audio"
    for path in dict.fromkeys(paths):
        place = Path(path)
        if not place.exists():
            problems.append(f"{path}: no such file or directory; correct the path")
        elif isinstance(settings, SpeechSettings):
            try:
                unlabelled = DataDir.read(place).text is None
            except UserError as error:
                problems += error.problems
            else:
                problems += [f"{path}/text: {lacks}"] * unlabelled
        elif place.is_dir() and not (place / "text").is_file():
            problems.append(f"{path}/text: no such file; its sentences are needed")
    return problems


def refuse_another(
    output: Path, report: dict[str, Any], settings: SpeechSettings | TextSettings, train: str
) -> None:
    """Compare a finished teacher with what is asked for.

    Parameters
    ----------
    output : the teacher's directory.
    report : its own.
    settings : asked for.
    train : the training data asked for; where it is gone, it is not compared.

    Raises
    ------
    UserError : names the keys of the config that differ, or the data.
    """
    known, asked = report["config"], json.loads(json.dumps(asdict(settings)))
    # older reports have fewer keys, and none about the data
    differ = [f"`{key}`" for key, value in asked.items() if known.get(key, value) != value]
    there = "data" in report and Path(train).exists()
    if there and report["data"] != data_identity(train, settings):
        differ.append("the content of --train")
    if differ:
        raise UserError(
            f"{output}: holds a teacher that differs in {', '.join(differ)}; remove it, or give "
            "another --output"
        )
