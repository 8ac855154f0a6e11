"""egs/common/train_text_teacher.py on a few sentences: trains, loads back, complains."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from distill_asr.teachers import TeacherConfig, load_teacher

SCRIPT = Path(__file__).parents[2] / "egs" / "common" / "train_text_teacher.py"
LINES = ["the sky is blue", "the grass is green", "the sky was blue", "the grass was green"]


@pytest.fixture(scope="module")
def stage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_text_teacher", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.txt").write_text("".join(f"{line}\n" for line in LINES * 4))
    (folder / "dev.txt").write_text("the sky is blue\nthe grass was green\n")
    (folder / "choices.txt").write_text("blue green\n")
    heard = tmp_path / "dump" / "test"
    heard.mkdir(parents=True)
    (heard / "text").write_text("u1 the sky was blue\n")
    return folder


SETTINGS = {
    "model": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16,
    },
    "masked": 0.3,
    "training": {
        "epochs": 120, "batch_size": 8, "learning_rate": 0.003, "warmup_steps": 20,
        "weight_decay": 0.0, "seed": 1,
    },
}  # fmt: skip


def arguments(text: Path, settings: dict = SETTINGS) -> list[str]:
    config = text.parent / "teacher.yaml"
    config.write_text(yaml.safe_dump(settings))
    output, heard = text.parent / "exp" / "bert", text.parent / "dump" / "test"
    paths = {"config": config, "train": text / "train.txt", "dev": text / "dev.txt"}
    paths |= {"test": heard, "output": output}
    return [word for key, path in paths.items() for word in (f"--{key}", str(path))]


def test_it_learns_and_loads_as_any_teacher(
    stage: ModuleType, text: Path, capsys: pytest.CaptureFixture
) -> None:
    assert stage.main(arguments(text)) == 0
    output = text.parent / "exp" / "bert"
    report = json.loads((output / "teacher_report.json").read_text())
    assert report["loss"][-1] < 0.7 * report["loss"][0]
    assert report["scores"]["dev"]["words"] == 8 and report["scores"]["test"]["words"] == 4
    assert report["scores"]["dev"]["choices"] == 2
    assert report["scores"]["dev"]["choices_right"] == 1.0, "sky is blue, grass is green"
    assert "chooses rightly in 100.0% of 2 cases" in capsys.readouterr().out
    file = text.parent / "bert.yaml"
    file.write_text(f"kind: text\nmodel: {output}\nlayers: [2]\ncodec: {{name: fp32}}\n")
    teacher = load_teacher(TeacherConfig.read(file), "cpu")
    assert teacher.size("the sky is blue") == 6, "a piece a word, and two special ones"
    weights = (output / "model.safetensors").read_bytes()
    assert stage.main(arguments(text)) == 0
    assert "trained before" in capsys.readouterr().out
    assert (output / "model.safetensors").read_bytes() == weights


def test_whole_words_are_masked_at_least_one_a_sentence(stage: ModuleType, tmp_path: Path) -> None:
    tokenizer = stage.make_tokenizer(["sky blue"], tmp_path)
    items = stage.encode(tokenizer, ["sky bbee", "blue", "yyy sky"])  # bbee: four letters
    torch.manual_seed(0)
    for _ in range(50):
        inputs, labels = stage.mask_words(items, tokenizer, 0.1)
        assert inputs.shape == labels.shape
        for (ids, words), goal in zip(items, labels.tolist(), strict=True):
            asked = {words[i] for i, label in enumerate(goal) if label != -100}
            assert asked and None not in asked
            for place, (piece, word) in enumerate(zip(ids, words, strict=True)):
                assert goal[place] == (piece if word in asked else -100)


def test_mistakes_are_told_at_once(
    stage: ModuleType, text: Path, capsys: pytest.CaptureFixture
) -> None:
    wrong = {"masked": 3, "model": None, "training": {"epochs": 1}, "family": "bert"}
    assert stage.main(arguments(text, wrong)) == 1
    said = capsys.readouterr().err
    for part in ("unknown key 'family'", "masked: given 3", "model: expected", "batch_size"):
        assert part in said
    (text / "train.txt").unlink()
    assert stage.main(arguments(text)) == 1
    assert "train.txt: No such file" in capsys.readouterr().err
