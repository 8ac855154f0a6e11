"""Targets made without a teacher."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distill_asr.targets.manifest import Manifest
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.targets import write_targets

Made = tuple[Path, dict[str, np.ndarray], Manifest]


@pytest.fixture
def lengths() -> dict[str, int]:
    """Samples of each utterance, not in the order of ids; 35 frames of 20 ms in all."""
    return {"b": 2240, "a": 1600, "d": 2880, "c": 1920, "é": 2560}


@pytest.fixture
def make_targets(tmp_path: Path, lengths: dict[str, int]) -> Callable[..., Made]:
    """Function that writes a data dir and targets of width 3 for it, two utterances a shard."""

    def make(name: str = "train", lengths: dict[str, int] = lengths, **changes: object) -> Made:
        data = write_data_dir(tmp_path / name, lengths)
        states, manifest = write_targets(data, "t", **changes)
        return data / "targets/t", states, manifest

    return make
