"""Hostile weights and configs of models: nothing runs, wherever they are read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("espnet2")
from distill_asr.pretrained.families import FAMILIES  # noqa: F401
from distill_asr.testing.fixtures import tiny_speech_teacher
from distill_asr.testing.language_models import save_language_model
from distill_asr.testing.recognisers import save_recogniser
from distill_asr.testing.text_models import save_text_model

WEIGHTS = "valid.loss.ave.pth"


def poison(path: Path, trap: object, protocol: str = "torch") -> None:
    """Write weights that run code when they are unpickled."""
    path.unlink(missing_ok=True)
    if protocol == "torch":
        torch.save({"encoder.weight": trap}, path)
    elif protocol == "legacy":
        torch.save({"encoder.weight": trap}, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(trap))


PROTOCOLS = ["torch", "legacy", "pickle"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_of_an_experiment(recipe, trap, refused, protocol: str) -> None:
    """In every verb that reads them."""
    exp = save_recogniser(recipe.root / "exp", "ctc")
    poison(exp / WEIGHTS, trap, protocol)
    for verb in ("decode", "pseudo-label"):
        more = ["--output", recipe.root / "out"]
        assert WEIGHTS in refused(verb, "--exp", exp, "--data", recipe.dev_set, *more)
    assert WEIGHTS in refused(
        "export", "--exp", exp, "--to", "espnet", "--output", recipe.root / "out"
    )
    assert not (recipe.root / "out").exists()
    init = recipe.train_command(recipe.config("ctc"), "new", "--init", exp)
    assert WEIGHTS in refused(*init)
    named = recipe.train_command(
        recipe.config("ctc", init_param=[f"{exp / WEIGHTS}:encoder:encoder"]), "new"
    )
    assert WEIGHTS in refused(*named)
    teacher = recipe.root / "own.yaml"
    teacher.write_text(
        yaml.safe_dump({"kind": "recogniser", "model": str(exp), "output": "posteriors"})
    )
    assert WEIGHTS in refused("dump", "--teacher", teacher, recipe.dev_set)


def test_another_checkpoint(recipe, trap, refused) -> None:
    exp = save_recogniser(recipe.root / "exp", "transducer")
    poison(exp / "9epoch.pth", trap)
    data = ["--data", recipe.dev_set, "--checkpoint", "9epoch.pth"]
    assert "9epoch.pth" in refused("decode", "--exp", exp, *data)


@pytest.mark.parametrize("model", ["transducer", "ctc"])
def test_language_model(recipe, trap, refused, model: str) -> None:
    exp = save_recogniser(recipe.root / "exp", model)
    lm = save_language_model(recipe.root / "lm")
    poison(lm / WEIGHTS, trap)
    assert str(lm) in refused("decode", "--exp", exp, "--data", recipe.dev_set, "--lm", lm)


@pytest.mark.parametrize("file", ["config.yaml"])
def test_config_of_an_experiment(recipe, mark: Path, refused, file: str) -> None:
    for directory, option in ((save_recogniser(recipe.root / "exp", "transducer"), "--exp"),):
        (directory / file).write_text(f"model: !!python/object/apply:os.mkdir [{str(mark)!r}]\n")
        report = refused("decode", option, directory, "--data", recipe.dev_set)
        assert str(directory / file) in report
        refused("export", "--exp", directory, "--to", "espnet", "--output", recipe.root / "out")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_of_a_speech_teacher(recipe, trap, refused, name: str, protocol: str) -> None:
    model = tiny_speech_teacher(recipe.root / "hubert")
    (model / "model.safetensors").unlink()
    poison(model / name, trap, protocol)
    teacher = recipe.root / "hubert.yaml"
    teacher.write_text(yaml.safe_dump({"kind": "speech", "model": str(model), "layers": [1]}))
    assert str(model) in refused("dump", "--teacher", teacher, recipe.dev_set)


def test_weights_of_a_text_teacher(recipe, trap, refused) -> None:
    model = save_text_model(recipe.root / "bert")
    (model / "model.safetensors").unlink()
    poison(model / "pytorch_model.bin", trap)
    teacher = recipe.root / "bert.yaml"
    teacher.write_text(yaml.safe_dump({"kind": "text", "model": str(model), "layers": [1]}))
    assert str(model) in refused("dump", "--teacher", teacher, recipe.dev_set)


def test_code_beside_a_model(recipe, mark: Path, refused) -> None:
    """A model's own code (`auto_map`) is not run."""
    model = tiny_speech_teacher(recipe.root / "hubert")
    (model / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}'
    )
    (model / "mine.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    teacher = recipe.root / "hubert.yaml"
    teacher.write_text(yaml.safe_dump({"kind": "speech", "model": str(model), "layers": [1]}))
    refused("dump", "--teacher", teacher, recipe.dev_set)


def test_a_flipped_bit_in_weights(recipe, refused) -> None:
    exp = save_recogniser(recipe.root / "exp", "transducer")
    content = bytearray((exp / WEIGHTS).read_bytes())
    weights = torch.load(exp / WEIGHTS, weights_only=True)
    largest = max(weights.values(), key=torch.numel).numpy().tobytes()
    content[content.index(largest) + 5] ^= 4
    (exp / WEIGHTS).write_bytes(content)
    assert "damaged" in refused("decode", "--exp", exp, "--data", recipe.dev_set)


def test_statistics_with_objects(recipe, trap, refused) -> None:
    """`normalize_conf.stats_file` is an archive of numpy's, which can hold pickles."""
    stats = recipe.root / "stats.npz"
    np.savez(stats, count=np.array(trap, dtype=object), sum=1.0, sum_square=1.0)
    config = recipe.config("ctc", normalize="global_mvn", normalize_conf={"stats_file": str(stats)})
    assert "stats" in refused(*recipe.train_command(config, "exp"))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 100, b"model"])
def test_bpe_model(recipe, refused, content: bytes) -> None:
    model = recipe.root / "bpe.model"
    model.write_bytes(content)
    config = recipe.config("ctc", token_type="bpe", bpemodel=str(model))
    assert str(model) in refused(*recipe.train_command(config, "exp"))
