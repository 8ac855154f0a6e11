"""Checksums of the small files of a target directory, so that every changed digit is noticed.

The arks' checksums are in the manifest; those of the manifest and the index lie beside them, as
``sha256sum -c`` reads them. Targets dumped before there were any are read as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic

CHECKSUMS = "checksums.sha256"


def write_checksums(directory: Path, contents: Mapping[str, str]) -> None:
    """Write the checksums of files, given what will be in them.

    Parameters
    ----------
    directory : of the files and of the checksums.
    contents : text of each file by its name.
    """
    lines = [f"{_sha256(text.encode())}  {name}\n" for name, text in sorted(contents.items())]
    write_text_atomic(directory / CHECKSUMS, "".join(lines))


def require_unchanged(path: Path, content: bytes, way_out: str) -> None:
    """Refuse a file that is not as it was written; targets without checksums pass.

    Parameters
    ----------
    path : the file; the checksums lie beside it.
    content : what was read from it.
    way_out : end of the message.

    Raises
    ------
    UserError : the content has another checksum.
    """
    try:
        text = (path.parent / CHECKSUMS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    if f"{_sha256(content)}  {path.name}" not in text.splitlines():
        raise UserError(
            f"{path}: damaged or changed by hand, its checksum is not the one in {CHECKSUMS}; "
            f"{way_out}"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
