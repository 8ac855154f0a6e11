"""The words that a decoding wrote, held against its record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distill_asr.io.records import altered

DECODED = "decode.json"  # beside the words: what they were made from, and their checksums
WORDS = "text"


def altered_words(directory: Path, names: Iterable[str] = (WORDS,)) -> list[str]:
    """List the files of a decoding that have changed; nothing without a record.

    Parameters
    ----------
    directory : ``<exp>/decode/<set>``.
    names : files of it to look at.
    """
    files = {name: directory / name for name in names}
    return altered(directory / DECODED, files, "decode the set again, with --overwrite")
