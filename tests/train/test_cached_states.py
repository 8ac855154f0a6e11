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
from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.targets import TargetReader
from distill_asr.targets.manifest import Manifest
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.train.cache import cache_problems, write_states
from distill_asr.train.config import TrainConfig

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
    conf = {**(lower or LOWER), "average": 2, "cache": cache}
    return recipe.config("ctc", frontend_conf=conf, **CTC, **UPPER)


def weights(experiment: Path) -> dict[str, torch.Tensor]:
    return torch.load(experiment / "valid.loss.ave.pth", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["features", "audio"])
def test_states_from_disk_train_the_same_student(recipe, tmp_path: Path, kind: str) -> None:
    below, more = dict(LOWER), {}
    if kind == "audio":  # a pretrained encoder, whose directory is gone when the student is built
        model = save_speech_model(tmp_path / "tiny", "wav2vec2")
        below = {"frontend": None, "encoder": "hf_speech", "encoder_conf": {"model": str(model)}}
        more = {"input_size": 1, "frontend_conf": {}}
    first = recipe.train(recipe.config("ctc", **below, **more, **CTC), "first")
    cached = recipe.train(upper(recipe, True, **below), "cached", "--init", first)
    plain = recipe.train(upper(recipe, False, **below), "plain", "--init", first)
    if kind == "audio":
        model.rename(tmp_path / "elsewhere")
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
    if kind == "audio":
        (tmp_path / "elsewhere").rename(model)
    done = json.loads((cached / "done.json").read_text())
    assert recipe.train(upper(recipe, True, **below), "cached", "--init", first) == cached
    assert json.loads((cached / "done.json").read_text()) == done


@pytest.mark.slow
def test_the_encoder_below_is_described_as_it_was_trained(recipe, capsys) -> None:
    first = recipe.train(recipe.config("ctc", **LOWER, **CTC), "first")
    other = {**LOWER, "frontend": None, "encoder_conf": {**LOWER["encoder_conf"], "num_blocks": 1}}
    command = recipe.train_command(upper(recipe, True, **other), "exp", "--init", first)
    assert cli.main(command) == 1
    problems = capsys.readouterr().err
    assert "frontend_conf.frontend: nothing, but" in problems
    assert "has kaldi_fbank; describe the encoder as it was trained" in problems
    assert "frontend_conf.encoder_conf: {" in problems


def test_mistakes_are_told_before_anything_is_computed(recipe, capsys) -> None:
    command = recipe.train_command(upper(recipe, cache=True), "exp")
    assert cli.main(command) == 1
    assert "frontend_conf.cache: needs the experiment whose encoder" in capsys.readouterr().err
    assert not (Path(recipe.train_set) / "targets" / "encoder_first").exists()


def pretrained(recipe, model: str | None, *sets: str, **conf: object) -> TrainConfig:
    layers = {"encoder_conf": {"model": model, "freeze_layers": 2, "cache": True}}
    raw = {"input_size": 1, "frontend": None, "frontend_conf": {}, "encoder": "hf_speech"}
    return TrainConfig.read(recipe.config("ctc", ["one"], **CTC, **raw, **layers, **conf), sets)


def test_states_of_the_frozen_layers_of_a_pretrained_encoder(recipe, tmp_path: Path) -> None:
    model = save_speech_model(tmp_path / "tiny", "whisper", max_source_positions=600)
    config = pretrained(recipe, str(model))
    assert cache_problems(config, None) == []
    data = DataDir.read(recipe.train_set)
    name = write_states([data], config, None)
    assert name == "encoder_tiny_2"
    reader = TargetReader([Path(recipe.train_set) / "targets" / name])
    encoder = HFSpeechEncoder(1, str(model), freeze_layers=2, cache=True).train()
    for utterance in reader:
        audio = torch.from_numpy(read_audio(data.wav[utterance])[0])[None]
        from_audio, frames, _ = encoder(audio, torch.tensor([audio.size(1)]))
        from_disk, _, _ = encoder(torch.from_numpy(reader[utterance].copy())[None], frames)
        torch.testing.assert_close(from_audio, from_disk, atol=1e-4, rtol=1e-4)


def test_what_does_not_go_with_states_of_frozen_layers(recipe) -> None:
    config = pretrained(recipe, None, "distill.d_one.tap=encoder:2", init_param=["a.pth:::"])
    assert [problem.partition(";")[0] for problem in cache_problems(config, None)] == [
        "encoder_conf.cache: needs encoder_conf.model, whose states are computed",
        "encoder_conf.cache: states are those of encoder_conf.model, but other weights are to "
        "come in (--init, init_param)",
        "encoder_conf.cache: distill.d_one.tap: encoder:2 is frozen and not computed",
    ]
