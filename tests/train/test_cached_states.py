"""States of frozen lower layers from disk: the same training, and a student that hears audio."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.experiments.student import load_student
from distill_asr.io.audio import read_audio
from distill_asr.targets import TargetReader
from distill_asr.targets.manifest import Manifest

CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
LOWER = {
    "frontend": "kaldi_fbank",
    "frontend_conf": {"n_mels": 16},
    "encoder": "conformer",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
        "input_layer": "conv2d", "cnn_module_kernel": 3,
    },
}  # fmt: skip
UPPER = {
    "frontend": "trained_encoder",
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
        "input_layer": "linear",
    },
    "batch_size": 1,
}  # fmt: skip


def upper(recipe, cache: bool, **lower: object) -> Path:
    conf = {**LOWER, **lower, "average": 2, "cache": cache}
    return recipe.config("ctc", frontend_conf=conf, **CTC, **UPPER)


def weights(experiment: Path) -> dict[str, torch.Tensor]:
    return torch.load(experiment / "valid.loss.ave.pth", weights_only=True)


@pytest.mark.slow
def test_states_from_disk_train_the_same_student(recipe) -> None:
    first = recipe.train(recipe.config("ctc", **LOWER, **CTC), "first")
    cached = recipe.train(upper(recipe, cache=True), "cached", "--init", first)
    plain = recipe.train(upper(recipe, cache=False), "plain", "--init", first)
    assert not (cached / "data/train/wav.scp").exists(), "no audio is read"
    expected = weights(plain)
    for name, found in weights(cached).items():
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-4)
    for name, value in weights(first).items():
        if name.startswith("encoder."):
            assert torch.equal(value, weights(cached)[f"frontend.{name}"]), "frozen"

    directory = Path(recipe.train_set) / "targets" / "encoder_first"
    assert Manifest.load(directory).tokens is None
    reader = TargetReader([directory])
    lower, _ = load_student(first)
    student, _ = load_student(cached)
    heard = DataDir.read(recipe.train_set).wav
    for utterance in reader:
        audio = torch.from_numpy(read_audio(heard[utterance])[0])[None]
        length = torch.tensor([audio.size(1)])
        states = lower.encode(audio, length)[0][0]
        np.testing.assert_allclose(reader[utterance], states.detach().numpy(), atol=1e-5)
        from_audio, _ = student.encode(audio, length)
        from_disk, _ = student.encode(states[None], torch.tensor([len(states)]))
        torch.testing.assert_close(from_audio, from_disk)
    done = json.loads((cached / "done.json").read_text())
    assert recipe.train(upper(recipe, cache=True), "cached", "--init", first) == cached
    assert json.loads((cached / "done.json").read_text()) == done


def test_mistakes_are_told_before_anything_is_computed(recipe, capsys) -> None:
    command = recipe.train_command(upper(recipe, cache=True), "exp")
    assert cli.main(command) == 1
    assert "frontend_conf.cache: needs the experiment whose encoder" in capsys.readouterr().err
    assert not (Path(recipe.train_set) / "targets" / "encoder_first").exists()
