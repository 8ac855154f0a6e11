"""`distill-asr train-teacher` on a few noise bursts: trains, continues, loads back, complains."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from distill_asr.cli import INTERRUPTED, main
from distill_asr.train_teacher import trainer
from distill_asr.train_teacher.speech import init_mel_filters
from distill_asr.train_teacher.utterances import Utterances, read_labelled

WORDS = ("one two", "two", "two one one", "one")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    for number, words in enumerate(WORDS):
        path = folder / f"u{number}.wav"
        samples = rng.uniform(-0.3, 0.3, 6000 + 700 * number).astype(np.float32)
        soundfile.write(path, samples, 16000)
        for name, value in zip(lines, (path, words, "s"), strict=True):
            lines[name].append(f"u{number} {value}\n")
    for name, content in lines.items():
        (folder / name).write_text("".join(content))
    return folder


@pytest.fixture
def settings() -> dict:
    return {
        "kind": "speech",
        "model_type": "hubert",
        "first_conv": "mel",
        "weights": "float16",
        "noise": {"share": 0.8, "snr": [0, 20]},
        "speed": [0.9, 1.2],
        "model": {
            "conv_dim": [8, 16],
            "conv_kernel": [400, 4],
            "conv_stride": [160, 2],
            "feat_extract_norm": "group",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "layerdrop": 0.0,
            "mask_time_prob": 0.0,
        },
        "training": {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "learning_rate": 0.01,
            "seed": 3,
            "disable_tqdm": True,
        },
    }


def run(tmp_path: Path, settings: dict, data: Path, output: str) -> int:
    config = tmp_path / "teacher.yaml"
    config.write_text(yaml.safe_dump(settings))
    arguments = ["--config", config, "--train", data, "--dev", data, "--output", tmp_path / output]
    return main(["train-teacher", *map(str, arguments), "--nthreads", "1"])


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("family", ["hubert", "wavlm"])
def test_result_is_a_model_of_its_family(tmp_path, settings, data, family):
    from transformers import AutoFeatureExtractor, AutoModel, AutoTokenizer

    settings["model_type"] = family
    assert run(tmp_path, settings, data, "teacher") == 0
    output = tmp_path / "teacher"
    model, info = AutoModel.from_pretrained(output, output_loading_info=True)
    assert model.config.model_type == family
    assert {key.split(".")[-1] for key in info["missing_keys"]} <= {"masked_spec_embed"}
    assert AutoFeatureExtractor.from_pretrained(output).sampling_rate == 16000
    tokenizer = AutoTokenizer.from_pretrained(output)
    ids = tokenizer("two one").input_ids
    assert tokenizer.decode(ids, group_tokens=False) == "two one"
    report = json.loads((output / "teacher_report.json").read_text())
    assert report["epochs"] == 2
    assert report["scores"]["set"]["utterances"] == len(WORDS)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "data",
        "teacher",
        "teacher.yaml",
    ]
    assert not [path for path in output.iterdir() if path.is_dir()]


def test_killed_run_continues_to_the_same_weights(tmp_path, settings, data, monkeypatch):
    import transformers

    assert run(tmp_path, settings, data, "whole") == 0

    class KilledError(Exception):
        pass

    original = transformers.Trainer.training_step
    steps = []

    def training_step(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 4:
            raise KilledError
        return original(self, *args, **kwargs)

    monkeypatch.setattr(transformers.Trainer, "training_step", training_step)
    with pytest.raises(KilledError):
        run(tmp_path, settings, data, "killed")
    assert not (tmp_path / "killed").exists()
    # a checkpoint the kill cut short: newer, but without its last file
    (tmp_path / "killed.checkpoints" / "checkpoint-3").mkdir()
    assert run(tmp_path, settings, data, "killed") == 0
    assert steps == [0, 1, 2, 3, 2, 3]
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)


def test_init_goes_on_from_a_trained_teacher(tmp_path, settings, data):
    assert run(tmp_path, settings, data, "first") == 0
    settings["training"] |= {"learning_rate": 0.0, "seed": 9}
    settings["init"] = str(tmp_path / "first")
    text = data / "text"
    text.write_text(text.read_text().replace("two", "one"))  # fewer letters than it knows
    assert run(tmp_path, settings, data, "second") == 0
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_letters_that_init_does_not_know_are_named(tmp_path, settings, data, capsys):
    assert run(tmp_path, settings, data, "first") == 0
    settings["init"] = str(tmp_path / "first")
    text = data / "text"
    text.write_text(text.read_text().replace("two", "zero"))
    assert run(tmp_path, settings, data, "second") == 1
    assert "does not know r z" in capsys.readouterr().err


def test_speed_changes_the_length_and_nothing_else(data):
    extractor = lambda samples, sampling_rate: type("F", (), {"input_values": [samples]})  # noqa: E731
    tokenizer = lambda text: type("T", (), {"input_ids": [1]})  # noqa: E731
    labelled = read_labelled(str(data))
    plain = Utterances(labelled, tokenizer, extractor)
    double = Utterances(labelled, tokenizer, extractor, speed=[2.0, 2.0])
    for index in range(len(plain)):
        samples = plain[index]["input_values"]
        assert abs(2 * len(double[index]["input_values"]) - len(samples)) <= 2


def test_finished_run_is_left_alone_and_only_scores_new_sets(tmp_path, settings, data, monkeypatch):
    assert run(tmp_path, settings, data, "teacher") == 0
    before = (tmp_path / "teacher" / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(trainer, "train", lambda *_: pytest.fail("trained again"))
    other = data.with_name("other")
    other.symlink_to(data)
    config = ["--config", tmp_path / "teacher.yaml", "--output", tmp_path / "teacher"]
    sets = ["--train", data, "--dev", data, "--test", other]
    assert main(["train-teacher", *(str(one) for one in config + sets)]) == 0
    assert (tmp_path / "teacher" / "model.safetensors").stat().st_mtime_ns == before
    report = json.loads((tmp_path / "teacher" / "teacher_report.json").read_text())
    assert report["scores"]["other"] == report["scores"]["set"]


def test_changed_config_does_not_continue_old_checkpoints(
    tmp_path, settings, data, monkeypatch, capsys
):
    import transformers

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "training_step", killed)
        assert run(tmp_path, settings, data, "teacher") == INTERRUPTED
    settings["training"]["seed"] = 4
    assert run(tmp_path, settings, data, "teacher") == 1
    assert "begun with another config" in capsys.readouterr().err


def test_every_mistake_of_the_config_is_named(tmp_path, data, capsys):
    wrong = {"kind": "speech", "model_type": "whisper", "first_conv": "sinc", "layers": 4,
             "noise": 5, "training": {}}  # fmt: skip
    assert run(tmp_path, wrong, data, "teacher") == 1
    message = capsys.readouterr().err
    for part in ("'whisper'", "'sinc'", "layers: ", "noise: ", "5", "model: missing"):
        assert part in message


def test_unlabelled_data_is_refused(tmp_path, settings, data, capsys):
    (data / "text").unlink()
    assert run(tmp_path, settings, data, "teacher") == 1
    assert "no such file; a teacher is trained on transcribed audio" in capsys.readouterr().err
    assert not (tmp_path / "teacher").exists()


def test_mel_filters_cover_the_band_in_order():
    import torch

    weight = torch.zeros(160, 1, 400)
    init_mel_filters(weight)
    spectra = torch.fft.rfft(weight[:, 0], n=4096).abs()
    peaks = spectra.argmax(dim=1) * 16000 / 4096
    assert (peaks[:40] - peaks[40:80]).abs().max() < 8  # the phases of a band, within two bins
    assert (peaks[:40].diff() > 0).all()
    assert 60 < peaks[0] < 110 and 7500 < peaks[39] < 7700
