"""An exported student needs nothing of this package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.experiments.export import espnet_zip
from distill_asr.experiments.export.espnet_model import export_model
from distill_asr.testing.recognisers import save_recogniser

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
STOCK = {"frontend": "default", "frontend_conf": {"n_fft": 400, "hop_length": 160, "n_mels": 16}}

# stock ESPnet where this package cannot be imported
INFERENCE = """
import json, sys

class Barrier:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "distill_asr":
            raise AssertionError("imports " + name)

sys.meta_path.insert(0, Barrier())
import soundfile, torch
from espnet2.bin.asr_inference import Speech2Text

def best_path(speech):
    model = recogniser.asr_model
    encoded, _ = model.encode(torch.tensor(speech)[None], torch.tensor([len(speech)]))
    path = model.ctc.argmax(encoded)[0].unique_consecutive().tolist()
    tokens = recogniser.converter.ids2tokens([t for t in path if t != model.blank_id])
    return recogniser.tokenizer.tokens2text(tokens).strip()

def best_hypothesis(speech):
    return recogniser(speech)[0][0]

config, weights, options, wav = json.loads(sys.argv[1])
recogniser = Speech2Text(config, weights, **options)
recognise = best_path if recogniser.asr_model.decoder is None else best_hypothesis
with torch.no_grad():
    found = {utt: recognise(soundfile.read(p, dtype="float32")[0]) for utt, p in wav.items()}
assert "distill_asr" not in sys.modules
print(json.dumps(found))
"""


def in_stock_espnet(exported: Path, data: Path, **options) -> dict[str, str]:
    """Texts from a process of its own."""
    wav = DataDir.read(data).wav
    files = [str(exported / "config.yaml"), str(exported / "model.pth")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", INFERENCE, json.dumps([*files, options, wav])],
        cwd=exported, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def decoded(exp: Path, data: Path, *options: str) -> dict[str, str]:
    """Texts from ``distill-asr decode``."""
    out = exp / "out"
    command = ["decode", "--exp", exp, "--data", data, "--output", out, *options]
    assert cli.main([str(word) for word in command]) == 0
    lines = (out / "text").read_text(encoding="utf-8").splitlines()
    return {line.split()[0]: line.partition(" ")[2] for line in lines}


def test_files(make_recipe) -> None:
    recipe = make_recipe("files")
    config = recipe.config("ctc", ["one", "two"], normalize="global_mvn", **STOCK)
    exp, out = recipe.train(config, "exp"), recipe.root / "exported"
    assert cli.main(["export", "--to", "espnet", "--exp", str(exp), "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"config.yaml", "model.pth", "feats_stats.npz"}

    content = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert content["model"] == "espnet" and not any(k.startswith("distill") for k in content)
    text = (out / "config.yaml").read_text(encoding="utf-8")
    assert str(exp / "data") not in text and str(exp / "stats") not in text
    weights = torch.load(out / "model.pth", weights_only=True)
    trained = torch.load(exp / "valid.loss.ave.pth", weights_only=True)
    assert {name for name in trained if name not in weights} == {
        name for name in trained if name.startswith("distillers.")
    }
    assert all(torch.equal(trained[name], value) for name, value in weights.items())


def test_packed(make_recipe, tmp_path: Path) -> None:
    from espnet2.main_funcs.pack_funcs import unpack

    recipe = make_recipe("packed")
    exp = recipe.train(recipe.config("ctc", normalize="global_mvn", **STOCK), "exp")
    words = ["export", "--to", "espnet", "--exp", exp, "--output", recipe.root / "out"]
    words += ["--pack", recipe.root / "student.zip"]
    assert cli.main([str(word) for word in words]) == 0
    (recipe.root / "student.zip").rename(tmp_path / "moved.zip")
    shutil.rmtree(recipe.root / "out")
    files = unpack(tmp_path / "moved.zip", tmp_path / "here")
    assert set(files) == {"asr_model_file", "asr_train_config"}
    with open(files["asr_train_config"], encoding="utf-8") as stream:
        config = yaml.safe_load(stream)
    assert config["normalize_conf"]["stats_file"] == str(tmp_path / "here/feats_stats.npz")
    assert in_stock_espnet(tmp_path / "here", recipe.train_set, beam_size=2, ctc_weight=0.4)
    assert cli.main([str(word) for word in [*words[:-1], "student.tar"]]) == 1


def test_nothing_is_half_written(tmp_path: Path, monkeypatch, capsys) -> None:
    exp = save_recogniser(tmp_path / "exp", "ctc", **STOCK)
    words = ["export", "--to", "espnet", "--exp", exp, "--output", tmp_path / "out"]
    words = [str(word) for word in [*words, "--pack", tmp_path / "student.zip"]]

    def full(*args, **options) -> None:
        raise OSError(28, "No space left on device")

    zipper = SimpleNamespace(ZipFile=full)
    for owner, name, broken, where in (
        (torch, "save", full, "out"), (espnet_zip, "zipfile", zipper, "student.zip"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            assert cli.main(words) == 1
        error = capsys.readouterr().err
        assert f"{tmp_path / where}: No space left on device; nothing was written" in error
        assert list(tmp_path.iterdir()) == [exp]
    (exp / "train.yaml").write_text("{}\n")  # of a training that has not ended
    assert cli.main(words) == 1
    assert "the training is not finished (done.json is missing)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [exp]


def test_parts_that_espnet_lacks(make_recipe) -> None:
    recipe = make_recipe("own_parts")
    exp = recipe.train(recipe.config("ctc", ["one"], frontend="kaldi_fbank"), "exp")
    with pytest.raises(UserError, match="frontend: kaldi_fbank is a part of distill_asr"):
        export_model(exp, recipe.root / "exported")
    assert not (recipe.root / "exported").exists()


@pytest.mark.parametrize("model", ["transducer", "encoder_only"])
def test_students_that_espnet_lacks(make_recipe, model: str) -> None:
    recipe = make_recipe(model)
    exp = recipe.train(recipe.config(model, ["one"]), "exp")
    with pytest.raises(UserError, match="does not load in stock ESPnet"):
        export_model(exp, recipe.root / "exported")
    assert not (recipe.root / "exported").exists()


@pytest.mark.slow
def test_hybrid_in_stock_espnet(make_recipe) -> None:
    recipe = make_recipe("hybrid")
    config = recipe.config("ctc", ["one"], max_epoch=30, optim_conf={"lr": 0.01},
                           normalize="global_mvn", **STOCK)  # fmt: skip
    exp = recipe.train(config, "exp")
    export_model(exp, recipe.root / "exported")
    ours = decoded(exp, recipe.train_set, "--beam-size", "3", "--ctc-weight", "0.4")
    stock = in_stock_espnet(recipe.root / "exported", recipe.train_set, beam_size=3, ctc_weight=0.4)
    assert stock == ours and any(ours.values())


@pytest.mark.slow
def test_ctc_in_stock_espnet(make_recipe) -> None:
    recipe = make_recipe("ctc")
    config = recipe.config("ctc", ["one"], max_epoch=40, optim_conf={"lr": 0.01}, batch_size=4,
                           keep_nbest_models=1, **PURE_CTC, **STOCK)  # fmt: skip
    exp = recipe.train(config, "exp", valid=[recipe.train_set])
    export_model(exp, recipe.root / "exported")
    ours = decoded(exp, recipe.train_set)
    stock = in_stock_espnet(recipe.root / "exported", recipe.train_set, ctc_weight=1.0)
    assert stock == ours and any(ours.values())
