"""The model card of an export."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
from torch import nn

from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.export.card import Card, write_card

FACTS = {"kind": "ctc", "stream": None, "sherpa": False, "feature_dim": 80, "sample_rate": 16000,
         "command": "distill-asr export", "versions": {"distill_asr": "1"}}  # fmt: skip


def experiment(directory: Path, sets: list[str], teacher: str | None, init: list[str]) -> Path:
    directory.mkdir(parents=True)
    distill = {"one": {"teacher": teacher, "tap": "encoder", "loss": "l1"}} if teacher else {}
    (directory / "config.yaml").write_text(yaml.safe_dump({"distill": distill}))
    record = {"train": sets, "config": {"init_param": init}}
    (directory / "train.yaml").write_text(yaml.safe_dump(record))
    return directory


def card_of(directory: Path, exp: Path) -> str:
    config = ModelConfig(exp / "config.yaml", {"encoder": "conformer", "token_list": ["a"]})
    tried = {"expected": {"0.wav": "a"}, "ran": ["onnxruntime"], "differing": {"int8": 1},
             "factors": {"PyTorch fp32": 0.05, "onnxruntime int8": 0.01}}  # fmt: skip
    card = Card.of(exp, nn.Linear(2, 2), config, FACTS, tried, ["CC BY 4.0"])
    write_card(directory, card)
    return (directory / "README.md").read_text()


def test_every_training_that_made_the_student(tmp_path: Path) -> None:
    """Paths in a record begin where the training ran, here a recipe's directory."""
    exp = tmp_path / "exp"
    own = "exp/pretrain_two/valid.loss.ave.pth:encoder:encoder"
    experiment(exp / "pretrain_two", ["dump/train", "dump/unlab"], "hubert", [own])
    lost = "exp/lost/valid.loss.ave.pth:ctc:ctc"
    last = experiment(exp / "two", ["dump/train"], "path", [own, own, lost])
    lines = card_of(tmp_path, last).splitlines()
    begin = lines.index("## Training")
    assert lines[begin + 2 : begin + 8] == [
        "* data: train",
        "* teacher: path (one: tap encoder, loss l1)",
        "* began from `pretrain_two`, data: train, unlab",
        "* teacher of `pretrain_two`: hubert (one: tap encoder, loss l1)",
        "* began from `lost`, data: not given",
        "* licences of data and teachers: CC BY 4.0",
    ]


def test_speed_by_runtime(tmp_path: Path) -> None:
    text = card_of(tmp_path, experiment(tmp_path / "exp", ["train"], None, []))
    assert "| PyTorch fp32 | 0.0500 |\n| onnxruntime int8 | 0.0100 |\n" in text
