"""Names that people gave to files and speakers, as ids and paths of data directories."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

from distill_asr.data.datadir import LONGEST_ID
from distill_asr.data.sources import is_command
from distill_asr.io.audio import ARCHIVED
from distill_asr.io.tables import is_invisible

_LONGEST = LONGEST_ID - 70  # bytes; the speaker and a checksum come to it
_KEPT = "._-"


def plain_name(name: str) -> str:
    """Letters, digits and ``._-`` of any script, the rest as ``_``; short enough for an id."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    kept = "".join(
        c if c.isalnum() or c in _KEPT or unicodedata.category(c)[0] == "M" else "_" for c in text
    ).strip("_.-")
    if len(kept.encode()) > _LONGEST:
        kept = kept.encode()[: _LONGEST - 9].decode(errors="ignore") + "_" + _checksum(name)
    return kept or _checksum(name)


def unique_names(names: Sequence[tuple[str, str]]) -> list[str]:
    """``plain_name`` of each; those that would be the same get a checksum of what they were.

    Parameters
    ----------
    names : each with where it stands, for names that are the same from the start.
    """
    plain = [plain_name(name) for name, _ in names]
    count = Counter(plain)
    raw = Counter(name for name, _ in names)
    unique = []
    for (name, where), one in zip(names, plain, strict=True):
        if count[one] > 1:
            one += "_" + _checksum(name if raw[name] == 1 else f"{name}\0{where}")
        unique.append(one)
    return unique


def path_problem(path: str) -> str | None:
    """Why a path cannot stand in a wav.scp, None where it can."""
    if any(unicodedata.category(c) == "Cc" for c in path):
        return "a line break or control character in the name"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in path):
        return "the name is not UTF-8"
    if path != path.strip() or any(is_invisible(c) for c in path[:1] + path[-1:]):
        return "a blank at the beginning or end of the name"
    if is_command(path):
        return "'|' at the beginning or end means a command in Kaldi's tables"
    if ARCHIVED.fullmatch(path):
        return "'.ark:NUMBER' means a place in an archive in Kaldi's tables"
    return None


def _checksum(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
