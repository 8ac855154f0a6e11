"""Checkpoints appear whole or not at all, and none is missed after a kill."""

import inspect
import io
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from espnet2.train.reporter import Reporter
from espnet2.train.trainer import Trainer
from torch import nn

from distill_asr.errors import UserError
from distill_asr.espnet.trainer import DistillTrainer, _atomic_saving


class Unsavable:
    """Fails after part of the file is written."""

    def __reduce__(self) -> tuple:
        raise RuntimeError("killed")


def test_saving_replaces_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"old": 1}, path)
    inode = path.stat().st_ino
    with _atomic_saving():
        torch.save({"new": torch.ones(2)}, path)
    assert path.stat().st_ino != inode, "another file renamed, not the old one written over"
    assert torch.load(path, weights_only=True)["new"].tolist() == [1.0, 1.0]
    assert os.listdir(tmp_path) == ["checkpoint.pth"]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_failure_keeps_the_old_file(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"old": 1}, path)
    with pytest.raises(RuntimeError, match="killed"), _atomic_saving():
        torch.save([torch.ones(1000), Unsavable()], str(path) if as_text else path)
    assert torch.load(path, weights_only=True) == {"old": 1}
    assert os.listdir(tmp_path) == ["checkpoint.pth"]


def test_open_files_are_written_as_ever() -> None:
    stream = io.BytesIO()
    with _atomic_saving():
        torch.save({"x": 1}, stream)
    stream.seek(0)
    assert torch.load(stream, weights_only=True) == {"x": 1}


def test_torch_is_left_as_it_was() -> None:
    save = torch.save
    with pytest.raises(RuntimeError, match="inside"), _atomic_saving():
        assert torch.save is not save
        raise RuntimeError("inside")
    assert torch.save is save


def test_the_whole_run_saves_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"old": 1}, path)

    def run(cls: type, *args: object, **kwargs: object) -> None:
        torch.save([torch.ones(1000), Unsavable()], kwargs["path"])

    monkeypatch.setattr(Trainer, "run", classmethod(run))
    with pytest.raises(RuntimeError, match="killed"):
        DistillTrainer.run(path=path)
    assert torch.load(path, weights_only=True) == {"old": 1}


def test_an_epoch_without_a_good_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESPnet reports that no step was valid; too short an epoch for steps in a row."""

    def epoch(cls: type, iterator, reporter, **more: object) -> bool:
        for _ in iterator:
            reporter.register({"loss": math.nan}, 1.0)
            reporter.next()
        return True

    monkeypatch.setattr(Trainer, "train_one_epoch", classmethod(epoch))
    whole = Reporter()
    whole.set_epoch(1)
    options = SimpleNamespace(no_forward_run=False, max_epoch=3, accum_grad=1)
    with whole.observe("train") as reporter:
        given = {"iterator": [(["a", "b"], {})], "reporter": reporter, "options": options}
        with pytest.raises(UserError, match="NaN or infinite in all of its steps, the last") as it:
            DistillTrainer.train_one_epoch(**given, model=nn.Linear(1, 1))
    assert "batch of utterances a, b; no epoch was finished" in str(it.value)


def checkpoint(folder: Path, epoch: int) -> tuple[nn.Module, Reporter]:
    """What ESPnet writes at the end of an epoch, before the epoch's model file."""
    torch.manual_seed(epoch)
    model, reporter = nn.Linear(2, 2), Reporter()
    reporter.set_epoch(epoch)
    states = {"model": model.state_dict(), "reporter": reporter.state_dict(), "scaler": None}
    torch.save(states | {"optimizers": [], "schedulers": []}, folder / "checkpoint.pth")
    return model, reporter


def resume(folder: Path) -> tuple[nn.Module, Reporter]:
    model, reporter = nn.Linear(2, 2), Reporter()
    DistillTrainer.resume(
        checkpoint=folder / "checkpoint.pth", model=model, optimizers=[], schedulers=[],
        reporter=reporter, scaler=None, ngpu=0,
    )  # fmt: skip
    return model, reporter


def test_resuming_puts_back_a_missing_epoch_file(tmp_path: Path) -> None:
    before, _ = checkpoint(tmp_path, 3)
    model, reporter = resume(tmp_path)
    assert reporter.get_epoch() == 3
    assert torch.equal(model.weight, before.weight)
    put_back = torch.load(tmp_path / "3epoch.pth", weights_only=True)
    assert torch.equal(put_back["weight"], before.weight)
    assert sorted(os.listdir(tmp_path)) == ["3epoch.pth", "checkpoint.pth"]


def test_resuming_leaves_an_epoch_file_alone(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3)
    (tmp_path / "3epoch.pth").write_text("its own")
    resume(tmp_path)
    assert (tmp_path / "3epoch.pth").read_text() == "its own"


def test_espnet_calls_what_is_overridden_here() -> None:
    """A renamed method in a later ESPnet would leave ours uncalled without a word."""
    source = inspect.getsource(Trainer.run)
    assert "cls.resume(" in source and "torch.save(" in source
    theirs, ours = (inspect.signature(c.resume).parameters for c in (Trainer, DistillTrainer))
    assert list(theirs)[:3] == list(ours)[:3] == ["checkpoint", "model", "reporter"]
