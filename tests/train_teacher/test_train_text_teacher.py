"""`distill-asr train-teacher`, kind text, on a few sentences: trains, loads back, complains."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer, TrainerCallback

from distill_asr.cli import INTERRUPTED, main
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.train_teacher.text import TextTeacherTraining, wordpiece

LINES = ["the sky is blue", "the grass is green", "the sky was blue", "the grass was green"]


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


MODEL = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 16,
}  # fmt: skip
SETTINGS = {
    "kind": "text",
    "vocabulary": "words",
    "model": MODEL,
    "mask": 0.3,
    "training": {
        "num_train_epochs": 300, "per_device_train_batch_size": 8, "learning_rate": 0.003,
        "disable_tqdm": True, "seed": 1,
    },
}  # fmt: skip


def arguments(text: Path, settings: dict = SETTINGS) -> list[str]:
    config = text.parent / "teacher.yaml"
    config.write_text(yaml.safe_dump(settings))
    output, heard = text.parent / "exp" / "bert", text.parent / "dump" / "test"
    paths = {"config": config, "train": text / "train.txt", "dev": text / "dev.txt"}
    paths |= {"test": heard, "output": output}
    return ["train-teacher"] + [
        word for key, path in paths.items() for word in (f"--{key}", str(path))
    ]


def test_it_learns_and_loads_as_any_teacher(text: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(arguments(text)) == 0
    output = text.parent / "exp" / "bert"
    report = json.loads((output / "teacher_report.json").read_text())
    assert report["dev_perplexity"][-1] < 0.7 * report["dev_perplexity"][0]
    assert report["scores"]["dev"]["words"] == 8 and report["scores"]["test"]["words"] == 4
    assert report["scores"]["dev"]["choices"] == 2
    assert report["scores"]["dev"]["choices_right"] == 1.0, "sky is blue, grass is green"
    assert "chooses rightly in 100.0% of 2 cases" in capsys.readouterr().out
    file = text.parent / "bert.yaml"
    file.write_text(f"kind: text\nmodel: {output}\nlayers: [2]\ncodec: {{name: fp32}}\n")
    teacher = load_teacher(TeacherConfig.read(file), "cpu")
    assert teacher.size("the sky is blue") == 6, "a piece a word, and two special ones"
    weights = (output / "model.safetensors").read_bytes()
    assert main(arguments(text)) == 0
    said = capsys.readouterr().out
    assert "trained before" in said and "dev perplexity" in said
    assert (output / "model.safetensors").read_bytes() == weights


def test_a_multilingual_vocabulary(text: Path) -> None:
    model = MODEL | {"model_type": "xlm-roberta", "max_position_embeddings": 34}
    training = SETTINGS["training"] | {"num_train_epochs": 1}
    with (text / "train.txt").open("a", encoding="utf-8") as file:
        file.write("\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd\n")  # Tamil, with combining marks
    settings = {
        "kind": "text",
        "vocabulary": 60,
        "mask": 0.15,
        "model": model,
        "training": training,
    }
    assert main(arguments(text, settings)) == 0
    output = text.parent / "exp" / "bert"
    report = json.loads((output / "teacher_report.json").read_text())
    assert report["pieces"] <= 60 and report["scores"]["dev"]["words"] == 8
    tokenizer = AutoTokenizer.from_pretrained(output)
    for line in ("\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd", "the sky"):
        ids = tokenizer(line)["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == line


def test_a_killed_run_goes_on(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS | {"training": SETTINGS["training"] | {"num_train_epochs": 4}}
    made = TextTeacherTraining.make_trainer

    def dying(*args: Any) -> Any:
        trainer = made(*args)
        trainer.add_callback(DiesAfterTwoEpochs())
        return trainer

    monkeypatch.setattr(TextTeacherTraining, "make_trainer", dying)
    assert main(arguments(text, settings)) == INTERRUPTED
    output = text.parent / "exp" / "bert"
    assert not output.exists()
    other = settings | {"mask": 0.5}
    assert main(arguments(text, other)) == 1, "checkpoints of something else"
    monkeypatch.setattr(TextTeacherTraining, "make_trainer", made)
    assert main(arguments(text, settings)) == 0
    continued = (output / "model.safetensors").read_bytes()
    shutil.rmtree(output)
    assert main(arguments(text, settings)) == 0
    assert (output / "model.safetensors").read_bytes() == continued


class DiesAfterTwoEpochs(TrainerCallback):
    """Ctrl-C when the third epoch begins; the checkpoints of two are whole."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.epoch >= 2:
            raise KeyboardInterrupt


def test_mistakes_are_told_at_once(text: Path, capsys: pytest.CaptureFixture) -> None:
    wrong = {
        "kind": "text",
        "mask": 3,
        "model": {},
        "training": 1,
        "vocabulary": "big",
        "family": 1,
    }
    assert main(arguments(text, wrong)) == 1
    said = capsys.readouterr().err
    told = ("family: ", "mask: given 3", "model.model_type", "training: expected",
            "vocabulary: given 'big'")  # fmt: skip
    assert all(part in said for part in told), said
    short = SETTINGS | {"model": MODEL | {"max_position_embeddings": 5}}
    assert main(arguments(text, short)) == 1
    assert "'the sky is blue': 6 pieces, expected at most 5" in capsys.readouterr().err
    shutil.rmtree(text.parent / "exp" / "bert.checkpoints")
    (text / "train.txt").unlink()
    assert main(arguments(text)) == 1
    nowhere = ["--test", str(text / "nowhere.txt")]
    assert main([*arguments(text), *nowhere, "--set", "mask=2"]) == 1
    said = capsys.readouterr().err
    for problem in ("train.txt: no such file", "nowhere.txt: no such file", "mask: given 2"):
        assert problem in said, "before anything is trained"


def test_no_other_directory_is_replaced(text: Path, capsys: pytest.CaptureFixture) -> None:
    """The whole directory is put into place at the end: nothing of the user's may lie there."""
    output = text.parent / "exp" / "bert"
    output.mkdir(parents=True)
    (output / "notes").write_text("mine")
    assert main(arguments(text)) == 1
    assert f"{output}: holds files, and no teacher_report.json" in capsys.readouterr().err
    (output / "wav.scp").write_text("a b.wav\n")
    assert main(arguments(text)) == 1
    assert f"{output}: holds a data directory (wav.scp)" in capsys.readouterr().err
    assert (output / "notes").read_text() == "mine"


def test_a_finished_teacher_is_held_against_what_is_asked(text: Path, capsys) -> None:
    """Through a link to its place, too."""
    place, output = text.parent / "place", text.parent / "exp" / "bert"
    place.mkdir()
    output.parent.mkdir()
    output.symlink_to(place, target_is_directory=True)
    quick = SETTINGS | {"training": SETTINGS["training"] | {"num_train_epochs": 1}}
    assert main(arguments(text, quick)) == 0 and (place / "model.safetensors").is_file()
    capsys.readouterr()
    assert main(arguments(text, quick | {"mask": 0.4})) == 1
    assert "holds a teacher that differs in `mask`; remove it" in capsys.readouterr().err
    train = text / "train.txt"
    before = train.read_text()
    train.write_text(before.replace("sky", "sea"))
    assert main(arguments(text, quick)) == 1
    assert "differs in the content of --train; remove it" in capsys.readouterr().err
    train.write_text(before)
    assert main(arguments(text, quick)) == 0
    (place / "teacher_report.json").write_text("{}")
    assert main(arguments(text, quick)) == 1
    assert "teacher_report.json: damaged or cut short; remove" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["çekya", "україна", "भारत", "ไทย", "việt", "მალი"])
def test_every_word_of_any_script_is_a_piece(word: str) -> None:
    """With its marks, which belong to it."""
    assert wordpiece([f"{word} mali"]).tokenize(f"mali {word}") == ["mali", word]
