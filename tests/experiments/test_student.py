"""Experiments are read as they are, or refused with what is wrong; exports write nothing then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.experiments.student import fit, load_student, read_student
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.recognisers import save_recogniser

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return save_recogniser(tmp_path_factory.mktemp("sound"), "ctc", **PURE_CTC)


@pytest.fixture
def exp(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "exp"))


def problems(directory: Path, checkpoint: str = "valid.loss.ave.pth") -> list[str]:
    with pytest.raises(UserError) as caught:
        load_student(directory, checkpoint)
    return caught.value.problems


def test_what_is_missing_is_named_in_one_go(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert [problem.partition(":")[0] for problem in found] == [
        str(tmp_path / "config.yaml"), str(tmp_path / "valid.loss.ave.pth")]  # fmt: skip


@pytest.mark.parametrize("size", [0, 300, 1500])
def test_a_config_cut_short(exp: Path, size: int) -> None:
    config = Experiment(exp).config
    config.write_bytes(config.read_bytes()[:size])
    (found,) = problems(exp)
    assert found.startswith(f"{config}: ") and f"train {exp} again" in found


def test_state_of_a_training_is_no_model(exp: Path, tmp_path: Path, capsys) -> None:
    """Neither to load, nor to decode or export with, which leaves nothing behind."""
    weights = torch.load(exp / "valid.loss.ave.pth", weights_only=True)
    torch.save({"model": weights, "optimizers": [], "reporter": {}}, exp / "checkpoint.pth")
    (found,) = problems(exp, "checkpoint.pth")
    assert "found model, optimizers, reporter" in found and "use valid.loss.ave.pth" in found
    output = tmp_path / "out"
    words = ["export", "--to", "espnet", "--exp", exp, "--output", output]
    words += ["--checkpoint", "checkpoint.pth"]
    assert cli.main([str(word) for word in words]) == 1
    assert not output.exists()
    data = make_prepared_dir(tmp_path / "data", utterances=1)
    words = ["decode", "--exp", exp, "--data", data, "--checkpoint", "checkpoint.pth"]
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == 1
    assert "the state of a training is not a model: use valid" in capsys.readouterr().err
    assert not (exp / "decode/data/text").exists()


def test_weights_of_other_sizes_export_nothing(exp: Path, tmp_path: Path, capsys) -> None:
    weights = torch.load(exp / "valid.loss.ave.pth", weights_only=True)
    name = "ctc.ctc_lo.bias"
    torch.save(weights | {name: torch.zeros(3)}, exp / "valid.loss.ave.pth")
    output = tmp_path / "out"
    assert cli.main(["export", "--to", "espnet", "--exp", str(exp), "--output", str(output)]) == 1
    assert f"another size of {name} [3] instead of [8]" in capsys.readouterr().err
    assert not output.exists()


def test_weights_of_another_student() -> None:
    """Every kind of difference in one report."""
    weights = {"weight": torch.zeros(1, 3), "encoder.x": torch.zeros(1)}
    with pytest.raises(UserError) as caught:
        fit(torch.nn.Linear(2, 1), weights, Path("a.pth"))
    report = str(caught.value)
    assert "a.pth" in report and "lacks bias" in report
    assert "has parameters that the model lacks: encoder.x" in report
    assert "another size of weight [1, 3] instead of [1, 2]" in report


def test_files_are_found_from_any_directory(exp: Path, tmp_path: Path, monkeypatch) -> None:
    """The config names them relative to where it was trained."""
    config = Experiment(exp).config
    text = config.read_text().replace("bpemodel: null", "bpemodel: exp/bpe.model")
    config.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="exists neither at that path nor in"):
        read_student("../exp", "valid.loss.ave.pth")
    (exp / "bpe.model").write_bytes(b"")
    trained, _ = read_student("../exp", "valid.loss.ave.pth")
    assert Path(str(trained.bpemodel)).samefile(exp / "bpe.model")
