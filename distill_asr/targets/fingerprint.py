"""What targets were made from, as hashes: ids with their lengths, and sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.io.tables import read_table


def read_sentences(path: Path, file: str) -> dict[str, str]:
    """The transcript of a data dir, by utterance.

    Parameters
    ----------
    path : the data dir.
    file : its name there.

    Raises
    ------
    UserError : it is missing or not to be read.
    """
    if not (path / file).is_file():
        raise UserError(
            f"{path / file}: no such file, and this teacher reads text; write it, or name another "
            "file with `text:` in the teacher's YAML"
        )
    return read_table(path / file)


def lengths_sha256(num_samples: Mapping[str, int]) -> str:
    """Hash of ids and lengths: the quick part of a fingerprint."""
    return lines_sha256(num_samples)


def text_sha256(sentences: Mapping[str, str]) -> str:
    """Hash of ids and sentences."""
    return lines_sha256(sentences)


def lines_sha256(values: Mapping[str, object]) -> str:
    """Hash of ``key value`` lines, sorted by key."""
    lines = "".join(f"{key} {values[key]}\n" for key in sorted(values))
    return hashlib.sha256(lines.encode()).hexdigest()
