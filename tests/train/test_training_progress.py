"""A line an epoch for a person, out of ESPnet's."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

from distill_asr.train.progress import EpochLines, TrainLog, duration, number, parse_results

RESULTS = (
    "3epoch results: [train] iter_time=1.2e-04, loss_ctc=2.900, loss=3.200, loss_asr=2.900, "
    "distill/hubert_base=0.300, distill/hubert_base/taught=0.5, grad_norm=1.0, loss_scale=1.000, "
    "time=1 minute and 3.5 seconds, total_count=12, [valid] loss_ctc=3.100, cer_ctc=0.451, "
    "loss=3.100, time=0.1 seconds, [att_plot] time=0 seconds"
)


def test_numbers_of_each_part() -> None:
    parts = parse_results(RESULTS.partition(": ")[2])
    assert parts["train"]["loss"] == 3.2 and parts["train"]["distill/hubert_base"] == 0.3
    assert parts["valid"]["cer_ctc"] == 0.451 and "time" not in parts["att_plot"]


def test_an_epoch_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    handler = EpochLines()
    for message in ("3/10epoch started", "some other line", RESULTS):
        handler.emit(logging.LogRecord("root", logging.INFO, "f", 1, message, None, None))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "epoch 3/10: train loss 3.20 (ctc 2.90, asr 2.90, hubert_base 0.300); "
        "valid loss 3.10 (ctc 3.10), CTC CER 45.1 %; "
    )
    assert line.endswith("0 s an epoch, 0 s left")


def test_what_is_said_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers
    with TrainLog() as log:
        warnings.warn("of some library", UserWarning, stacklevel=1)
        logging.warning("of ESPnet")
        log.open(tmp_path / "train.log")
        logging.getLogger("distill_asr.x").warning("of ours")
        logging.error("bad")
    text = (tmp_path / "train.log").read_text()
    assert all(said in text for said in ("of some library", "of ESPnet", "of ours", "bad"))
    assert capsys.readouterr().err.splitlines() == ["warning: of ours", "error: bad"]
    assert logging.getLogger().handlers == before


def test_words_for_numbers() -> None:
    assert [number(n) for n in (0.0123456, 12.345, 123.4, 12345.0)] == [
        "0.0123", "12.3", "123", "1.23e+04",
    ]  # fmt: skip
    assert [duration(s) for s in (3.2, 80, 7500)] == ["3 s", "1 min 20 s", "2 h 5 min"]
