"""SHA-256 of a file."""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20  # bytes


def file_sha256(path: str | Path) -> str:
    """Hash a file's bytes, a chunk at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
