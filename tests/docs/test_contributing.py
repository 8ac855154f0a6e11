"""CONTRIBUTING as a newcomer reads it: its classes, corpus and systems work as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pages
import pytest
import soundfile
import torch
import yaml

from distill_asr import cli
from distill_asr.distill.states import Context, States

PAGE = "CONTRIBUTING.md"


def blocks(language: str) -> list[str]:
    return [block.text for block in pages.blocks(PAGE) if block.language == language]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's Python files in a directory that Python finds; the working directory."""
    for text in blocks("python"):
        name = re.match(r"# (\w+\.py)", text)[1]
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n\n")
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_loss(modules: Path) -> None:
    from my_methods import SmoothCodes

    loss = SmoothCodes(0.0)
    assert loss.input_width(paired_width=2, classes=4) == 8
    codes = torch.tensor([[1, 3], [0, 0], [2, 1]])
    sure = 50.0 * torch.nn.functional.one_hot(codes, 4).float().flatten(1)
    torch.testing.assert_close(loss(sure, codes), torch.zeros(3))
    assert (loss(-sure, codes) > 10).all()
    with pytest.raises(ValueError, match="smoothing must be"):
        SmoothCodes(1.0)


def test_the_matcher(modules: Path) -> None:
    from my_methods import Middle

    student = States(torch.arange(16.0).reshape(2, 8, 1), torch.tensor([8, 4]), 40.0)
    teacher = States(torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]]), torch.tensor([2, 1]), None)
    pairs = Middle()(student, teacher, Context(texts=["a b", "c"]))
    assert pairs.student.flatten().tolist() == [2, 3, 4, 5, 9, 10]
    assert pairs.teacher.flatten().tolist() == [2, 2, 2, 2, 5, 5]
    assert pairs.utterance.tolist() == [0] * 4 + [1] * 2
    assert pairs.weight.tolist() == [0.5] * 4 + [1] * 2


def test_a_config_with_both_is_valid(modules: Path) -> None:
    from distill_asr.testing.fixtures import tiny_config

    written = [yaml.safe_load(text) for text in blocks("yaml")]
    distill = {name: block for text in written for name, block in text.get("distill", {}).items()}
    assert set(distill) == {"codes", "sentence"}
    (extended,) = (text["extends"] for text in written if "extends" in text)
    assert (pages.ROOT / extended).is_file()
    (modules / "own.yaml").write_text(yaml.safe_dump(tiny_config("ctc", distill=distill)))
    assert cli.main(["validate", "own.yaml"]) == 0


def test_the_teacher_and_the_first_look(modules: Path) -> None:
    """The teacher's file is right, and the config that the last command trains is there."""
    from distill_asr.teachers.config import TeacherConfig

    (text,) = (text for text in blocks("yaml") if "kind:" in text)
    name = re.match(r"# (\w+\.yaml)", text)[1]
    (modules / name).write_text(text, encoding="utf-8")
    assert TeacherConfig.read(modules / name).codec["name"] == "mvq"
    assert any(name in command.words for command in pages.commands(PAGE))
    assert any(text.startswith("# own.yaml\n") for text in blocks("yaml"))


def test_the_corpus(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "dev", "test"):
        folder = modules / "recordings" / name
        folder.mkdir(parents=True)
        for sentence in ("one_two", "three"):
            soundfile.write(folder / f"{sentence}.wav", rng.normal(0, 0.1, 16000), 16000)
    (command,) = (c for c in pages.commands(PAGE) if "my_corpus.MyCorpus" in c.words)
    assert cli.main(command.words[1:]) == 0
    assert re.search(r"train +2 +1 +yes", capsys.readouterr().out)
    assert cli.main(["prepare", "data/train", "dump/train"]) == 0
    assert (modules / "dump/train/text").read_text() == "me-one_two one two\nme-three three\n"


def test_the_recipe(modules: Path) -> None:
    """Its run.sh and its systems, as far as a plan of the jobs."""
    import shutil
    import subprocess

    recipe = modules / "egs/mine/asr1"
    shutil.copytree(pages.ROOT / "egs/common", modules / "egs/common")
    shutil.copytree(pages.ROOT / "conf", modules / "conf", dirs_exist_ok=True)
    (recipe / "conf").mkdir(parents=True)
    (systems,) = (text for text in blocks("yaml") if "systems:" in text)
    (recipe / "conf/systems.yaml").write_text(systems, encoding="utf-8")
    (script,) = blocks("bash")
    (recipe / "run.sh").write_text(script, encoding="utf-8")
    subprocess.run(["bash", "-n", str(recipe / "run.sh")], check=True)
    assert cli.main(["recipe", "check", str(recipe / "conf/systems.yaml")]) == 0


def test_the_rooms_are_those_of_the_contract() -> None:
    contract = (pages.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[(.*?)^\]", contract, re.MULTILINE | re.DOTALL)[1]
    expected = [name.split(" : ") for name in re.findall(r'^\s*"([^"]+)"', layers, re.MULTILINE)]
    (listed,) = (
        b.text for b in pages.blocks(PAGE) if not b.language and b.text.startswith("testing")
    )
    found = [re.split(r"\s{8,}", line)[0].split() for line in listed.splitlines()]
    assert found == expected
