"""The record of a command: a JSON object with the checksums of itself and of files.

It holds its own SHA-256, and under ``files`` that of each file whose content decides what later
commands compute. Whoever reads such a file compares it with the record. Records of older versions
hold no checksums, and are accepted as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_asr.io.files import write_text_atomic
from distill_asr.io.identity import content_identity

FILES = "files"  # SHA-256 by name
CHECKSUM = "sha256"  # of all the rest of the record
_SHOWN = 12  # digits of a checksum in a message


class DamagedRecordError(ValueError):
    """A record that is not as it was written."""


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record with its checksum, whole or not at all."""
    plain = json.loads(json.dumps(content))
    text = json.dumps(plain | {CHECKSUM: _checksum(plain)}, indent=1, ensure_ascii=False)
    write_text_atomic(path, text + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """What ``write_record`` wrote, without the checksum.

    Raises
    ------
    OSError : it cannot be read, ``FileNotFoundError`` if it is missing.
    DamagedRecordError : no JSON object, or another one than was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedRecordError(f"{path}: cut short or damaged") from error
    if not isinstance(content, dict):
        raise DamagedRecordError(f"{path}: expected a JSON object")
    checksum = content.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(content):
        raise DamagedRecordError(f"{path}: its checksum is not that of its content")
    return content


def vouched(files: Mapping[str, Path], cache: Path | None = None) -> dict[str, str]:
    """SHA-256 by name, for a record.

    Parameters
    ----------
    files : by the name that the record gives them.
    cache : as of ``content_identity``.

    Raises
    ------
    OSError : one cannot be read.
    """
    found = content_identity(files.values(), cache, quiet=True)
    digests = {}
    for name, path in files.items():
        digest = found[str(path)]
        if isinstance(digest, OSError):
            raise digest
        digests[name] = digest
    return digests


def altered(
    record: Path, files: Mapping[str, Path], way_out: str, cache: Path | None = None
) -> list[str]:
    """List the files that differ from their record; nothing without a record.

    Parameters
    ----------
    record : path of the record.
    files : by the name that the record gives them; what it does not name is not compared.
    way_out : what to do about it; ends each message.
    cache : as of ``content_identity``.
    """
    try:
        known = read_record(record).get(FILES, {})
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, DamagedRecordError) as error:
        return [f"{error}; {way_out}"]
    if not isinstance(known, dict):
        return [f"{record}: {FILES}: expected SHA-256 by name, found {known!r}; {way_out}"]
    return differences(record, files, known, way_out, cache)


def differences(
    record: Path,
    files: Mapping[str, Path],
    known: Mapping[str, object],
    way_out: str,
    cache: Path | None = None,
) -> list[str]:
    """``altered``, of a record whose checksums are read already.

    Parameters
    ----------
    record, files, way_out, cache : as of ``altered``.
    known : checksums of the record by name.
    """
    compared = {name: path for name, path in files.items() if name in known}
    found = content_identity(compared.values(), cache, quiet=True)
    problems = []
    for name, path in compared.items():
        digest, expected = found[str(path)], known[name]
        if isinstance(digest, OSError):
            problems.append(f"{path}: {digest.strerror}, and {record} names it; {way_out}")
        elif digest != expected:
            problems.append(
                f"{path}: changed or damaged since it was written: its SHA-256 is "
                f"{digest[:_SHOWN]}..., expected {str(expected)[:_SHOWN]}... ({record}); {way_out}"
            )
    return problems


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
