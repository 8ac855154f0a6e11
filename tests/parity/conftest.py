"""Numbers from the published implementations, as they computed them on small random inputs.

``hkd.json.xz``: integrate-and-fire and both losses of arXiv 2301.13003. ``l2s.json.xz``: shrinking,
interpolation and the loss of arXiv 2206.12638. The environment variable DISTILL_ASR_PARITY names
another directory with ``hkd.json`` and ``l2s.json`` (plain or compressed) to hold ours against.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def parity() -> Callable[[str], dict]:
    """``parity("l2s")`` gives that file's content."""
    folder = Path(os.environ.get("DISTILL_ASR_PARITY") or Path(__file__).parent)

    def load(name: str) -> dict:
        plain, packed = folder / f"{name}.json", folder / f"{name}.json.xz"
        if plain.exists():
            return json.loads(plain.read_bytes())
        return json.loads(lzma.decompress(packed.read_bytes()))

    return load
