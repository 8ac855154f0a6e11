"""Numbers from the published implementations; DISTILL_ASR_PARITY says where they are."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def parity():
    """``parity("l2s")`` gives that file's content, or skips the test."""
    folder = Path(os.environ.get("DISTILL_ASR_PARITY", ROOT.parent / "shared" / "parity"))

    def load(name: str) -> dict:
        path = folder / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no parity vectors at {path}; set DISTILL_ASR_PARITY")
        return json.loads(path.read_text())

    return load
