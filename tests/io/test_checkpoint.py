"""Files of weights: a damaged one is named, whichever bit it is; nothing in it is run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch

from distill_asr.errors import UserError
from distill_asr.io.checkpoint import read_checkpoint

WEIGHTS = {f"layer.{i}": torch.arange(400.0).reshape(20, 20) + i for i in range(3)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(WEIGHTS, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_one_flipped_bit_is_noticed_or_changes_nothing(file: Path) -> None:
    whole, draw = file.read_bytes(), random.Random(0)
    noticed = 0
    for _ in range(60):
        place = draw.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        try:
            found = read_checkpoint(file, "bring it back")
        except UserError as error:
            noticed += 1
            assert str(error).startswith(f"{file}: damaged") and "bring it back" in str(error)
        else:
            assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert noticed > 30


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="damaged or cut short"):
        read_checkpoint(file, "bring it back")


class _Code:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("made-by-a-pickle",)


def test_code_is_not_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    torch.save({"layer": _Code()}, file)
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(file, "bring it back")
    assert not Path("made-by-a-pickle").exists()
