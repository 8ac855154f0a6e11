"""From a recogniser's directory to a student that learnt from it, by YAML alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.targets.manifest import Manifest
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.recognisers import save_recogniser

PATH = {"teacher": "path", "tap": "logits", "match": "path", "loss": "kl", "reduce": "sum"}
POSTERIORS = {"teacher": "posteriors", "tap": "ctc", "match": "ctc", "loss": "kl"}


def dump(recipe, output: str) -> None:
    """Targets of a random recogniser for both sets."""
    model = save_recogniser(recipe.root / "big")
    teacher = recipe.root / f"{output}.yaml"
    teacher.write_text(f"kind: recogniser\nmodel: {model}\noutput: {output}\n", encoding="utf-8")
    sets = [str(recipe.train_set), str(recipe.dev_set)]
    assert cli.main(["dump", "--teacher", str(teacher), "--name", output, *sets]) == 0


def config(recipe, model: str = "transducer", **blocks: dict) -> Path:
    """A student that learns from the recogniser, besides a speech teacher."""
    path = recipe.config(model, ["one"])
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["distill"] |= blocks
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_paths_posteriors_and_states_teach_together(recipe) -> None:
    for output in ("path", "posteriors"):
        dump(recipe, output)
    tokens = Manifest.load(recipe.train_set / "targets/path").tokens
    assert tokens == tuple(TOKENS)
    near = POSTERIORS | {"match_conf": {"blank": "near"}}
    delayed = PATH | {"match_conf": {"delay": 64, "window": 64}, "weight": 0.1}
    exp = recipe.train(config(recipe, path=PATH, late=delayed, ctc=POSTERIORS, near=near), "exp")
    log = (exp / "train.log").read_text(encoding="utf-8")
    train, valid = log.split("1epoch results: ")[1].split("[valid]")
    for term in ("d_one", "path", "late", "ctc", "near"):
        assert f"distill/{term}=" in train
    assert "distill/" not in valid.split("\n")[0]


def test_a_student_with_other_tokens_is_refused_before_training(recipe, capsys) -> None:
    dump(recipe, "path")
    lines = recipe.tokens.read_text(encoding="utf-8").splitlines()
    recipe.tokens.write_text("\n".join([*lines[:-1], "extra", lines[-1]]) + "\n", encoding="utf-8")
    command = recipe.train_command(config(recipe, path=PATH), "exp")
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "distill.path" in said and "train teacher and student with one token list" in said
    assert not (recipe.root / "exp" / "train.log").exists()


def test_a_step_of_another_length_is_refused(recipe, capsys) -> None:
    dump(recipe, "path")
    path = config(recipe, path=PATH)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["encoder_conf"]["input_layer"] = "conv2d6"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert cli.main(recipe.train_command(path, "exp")) == 1
    assert "match: path needs equal frame rates" in capsys.readouterr().err
