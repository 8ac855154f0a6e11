"""Trainings that must not begin, go on or count as done say what is wrong, and the way out."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import soundfile
import yaml

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.io.locks import locked

CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}


def refused(recipe, capsys, *command: object, **sets) -> str:
    """What a training that fails says."""
    capsys.readouterr()
    assert cli.main(recipe.train_command(*command, **sets)) == 1
    return capsys.readouterr().err


def test_a_training_that_diverges_is_not_done(recipe, capsys) -> None:
    config = recipe.config("ctc", optim="sgd", optim_conf={"lr": 1.0e30}, grad_clip=-1,
                           max_epoch=4, **CTC)  # fmt: skip
    said = refused(recipe, capsys, config, "exp")
    assert "training diverged in epoch" in said and "spk0-" in said and "optim_conf.lr" in said
    assert not (recipe.root / "exp/done.json").exists()
    assert not (recipe.root / "exp/valid.loss.ave.pth").exists()


@pytest.mark.parametrize("name", ["data", "stats"])
def test_a_training_removes_nothing_of_the_users(recipe, capsys, name: str) -> None:
    mine = recipe.root / "exp" / name / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("audio")
    said = refused(recipe, capsys, recipe.config("ctc", **CTC), "exp")
    assert f"exp: holds {name}/, which no training wrote; give another directory" in said
    said = refused(recipe, capsys, recipe.config("ctc", **CTC), recipe.train_set)
    assert "holds a data directory (wav.scp)" in said and mine.read_text() == "audio"


def test_what_the_first_process_writes_stops_no_other(recipe, capsys) -> None:
    """Rank 1 may look at the directory when rank 0 has begun to write there."""
    (recipe.root / "exp" / "data").mkdir(parents=True)
    config = recipe.config("ctc", ["never_dumped"], **CTC)
    said = refused(recipe, capsys, config, "exp", "--", "--dist_rank", "1")
    assert "never_dumped" in said and "no training wrote" not in said


def test_one_training_a_directory(recipe, capsys) -> None:
    with locked(recipe.root / "exp", "training"):
        said = refused(recipe, capsys, recipe.config("ctc", **CTC), "exp")
    assert "this very process is already writing there" in said


def test_statistics_of_other_data_are_measured_anew(recipe, monkeypatch) -> None:
    """As after a kill between the statistics and the first checkpoint."""
    from distill_asr.train import training

    config = recipe.config("ctc", normalize="global_mvn", **CTC)
    main = training.DistillTask.main

    def killed(cmd: list[str]) -> None:
        if "--collect_stats" not in cmd:
            raise KeyboardInterrupt
        main(cmd=cmd)

    monkeypatch.setattr(training.DistillTask, "main", killed)
    assert cli.main(recipe.train_command(config, "exp", train=[recipe.dev_set])) == 130
    monkeypatch.undo()
    exp, fresh = recipe.train(config, "exp"), recipe.train(config, "fresh")
    ours, expected = (np.load(e / "stats/train/feats_stats.npz") for e in (exp, fresh))
    assert all(np.array_equal(ours[key], expected[key]) for key in expected)


def test_other_audio_under_the_same_names_is_another_experiment(recipe, capsys) -> None:
    config = recipe.config("ctc", **CTC)
    recipe.train(config, "exp")
    path = next((recipe.train_set / "wav").glob("*.wav"))
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[::-1], rate, subtype="PCM_16")
    assert "the content of its audio files" in refused(recipe, capsys, config, "exp")


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_records_cut_short(recipe, capsys, content: str) -> None:
    config = recipe.config("ctc", **CTC)
    exp = recipe.train(config, "exp")
    (exp / "done.json").write_text(content)
    recipe.train(config, "exp")  # its last epoch is done, so only the record is written again
    assert "fingerprint" in (exp / "done.json").read_text()
    (exp / "done.json").unlink()
    (exp / "train.yaml").write_text(content)
    said = refused(recipe, capsys, config, "exp")
    assert f"{exp / 'train.yaml'}: damaged or cut short" in said and "another --output" in said


def test_mistakes_of_config_and_data_come_together(recipe, capsys) -> None:
    config = recipe.config("ctc", encodr="x", **CTC)
    said = refused(recipe, capsys, config, "exp", train=[recipe.root / "nowhere"])
    assert "encodr: unknown key" in said and "nowhere: no such data directory" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output_size": 32}, "weights of another size (encoder."),
        ({"num_blocks": 3}, "are not in that file, and would stay random (encoder.encoders.2."),
        ({"num_blocks": 1}, "of that file are not in this student (encoder.encoders.1."),
    ],
)
def test_initial_weights_that_do_not_fit(recipe, capsys, change: dict, said: str) -> None:
    first = recipe.train(recipe.config("encoder_only", ["one"]), "first")
    content = yaml.safe_load(recipe.config("transducer").read_text())
    content["encoder_conf"] |= change
    other = recipe.root / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    found = refused(recipe, capsys, other, "second", "--init", first)
    assert said in found and "ignore_init_mismatch" in found
    assert not (recipe.root / "second").exists()


def test_an_utterance_too_short_for_the_encoder(recipe, capsys) -> None:
    short = recipe.add_set("short", teachers=(), seconds=(0.03, 1.0), seed=8)
    found = refused(recipe, capsys, recipe.config("ctc", **CTC), "exp", valid=[short])
    assert f"{short}: " in found and "too short for one frame of this student's encoder" in found
    assert "samples, expected at least " in found and "--min-duration 0." in found


def test_transcripts_that_cannot_be_learnt_are_counted(recipe, capsys) -> None:
    file = recipe.train_set / "text"
    first, *rest = [line.split(" ", 1) for line in file.read_text().splitlines()]
    rows = [(first[0], "abcd " * 40), *((utt, words.upper()) for utt, words in rest)]
    file.write_text("".join(f"{utt} {words.strip()}\n" for utt, words in rows))
    recipe.train(recipe.config("ctc", **CTC), "exp")
    said = capsys.readouterr().err
    assert "tokens (" in said and "%) are not in the token list and count as <unk>: " in said
    assert f"1 utterance(s) ({first[0]}) with more tokens than the student has frames" in said


def test_a_training_that_works_says_a_line_an_epoch(recipe, capsys) -> None:
    exp = recipe.train(recipe.config("ctc", ["one"], max_epoch=2), "exp")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 2, err
    assert lines[0].startswith("epoch 1/2: train loss ") and "left" in lines[0]
    log = (exp / "train.log").read_text()
    assert "Using legacy_rel_pos" in log and "1epoch results: " in log


def test_a_loader_that_is_killed_is_named(recipe, capsys, monkeypatch) -> None:
    from espnet2.train.dataset import ESPnetDataset

    main_process, read = os.getpid(), ESPnetDataset.__getitem__

    def dying(self, uid):
        if os.getpid() != main_process:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, uid)

    monkeypatch.setattr(ESPnetDataset, "__getitem__", dying)
    said = refused(recipe, capsys, recipe.config("ctc", num_workers=1, **CTC), "exp")
    assert "a process that loads data ended" in said and "run the same command again" in said
    assert not (recipe.root / "exp/done.json").exists()
