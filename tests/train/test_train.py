"""Small trainings from the command line to ESPnet's files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.dump.source import AudioSource
from distill_asr.targets import TargetReader
from distill_asr.targets.writer import TargetWriter
from distill_asr.testing.codebooks import write_codebooks
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.targets import target_settings

TEACHERS = {"one": 6, "two": 4}  # widths, see conftest.py


def weights(experiment: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(experiment / name, weights_only=True)


def epoch_lines(experiment: Path) -> list[str]:
    log = (experiment / "train.log").read_text(encoding="utf-8")
    return re.findall(r"\d+epoch results: .*", log)


def train_scalars(experiment: Path) -> dict[str, list[float]]:
    """What the event files of the training part hold."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(experiment / "tensorboard" / "train")).Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
STUDENTS = {
    "ctc": ("ctc", PURE_CTC, "loss_ctc"),
    "hybrid": ("ctc", {}, "loss_att"),
    "transducer": ("transducer", {}, "loss_transducer"),
}


@pytest.mark.parametrize("student", STUDENTS)
def test_distilled_student(recipe, student: str) -> None:
    model, changes, own_loss = STUDENTS[student]
    exp = recipe.train(recipe.config(model, ["one"], max_epoch=2, **changes), "exp")

    assert len(epoch_lines(exp)) == 2
    train, valid = epoch_lines(exp)[0].split("[valid]")
    assert f"{own_loss}=" in train and "distill/d_one=" in train
    assert f"{own_loss}=" in valid and "distill/" not in valid  # judged by recognition alone
    scalars = train_scalars(exp)
    assert len(scalars["distill/d_one"]) == 2 and min(scalars["distill/d_one"]) > 0
    total = np.add(scalars["loss_asr"], scalars["distill/d_one"])
    np.testing.assert_allclose(scalars["loss"], total, rtol=1e-4)
    assert any(key.startswith("distillers.d_one.head") for key in weights(exp, "2epoch.pth"))


def test_two_teachers_without_text(recipe) -> None:
    unlabelled = recipe.add_set("unlab", text=False, seed=3)
    config = recipe.config("encoder_only", ["one", "two"])
    exp = recipe.train(config, "exp", train=[recipe.train_set, unlabelled])

    listed = (exp / "data/train/wav.scp").read_text().splitlines()
    assert len(listed) == 8 and any("unlab" in line for line in listed)
    assert not (exp / "data/train/text").exists()
    train, valid = epoch_lines(exp)[0].split("[valid]")
    for part in (train, valid):  # stage 1 has nothing else to be judged by
        assert "distill/d_one=" in part and "distill/d_two=" in part
    names = weights(exp, "1epoch.pth")
    assert {name.split(".")[0] for name in names} == {"encoder", "distillers"}


def test_labelled_sets_are_merged(recipe) -> None:
    more = recipe.add_set("more", seed=3)
    exp = recipe.train(recipe.config("ctc", ["one"]), "exp", train=[recipe.train_set, more])
    for name in ("wav.scp", "text", "speech_shape"):
        lines = (exp / "data/train" / name).read_text().splitlines()
        assert len(lines) == 8 and lines == sorted(lines)
    assert train_scalars(exp)["distill/d_one"][0] > 0


def test_pick_random(recipe) -> None:
    both = recipe.train(recipe.config("encoder_only", ["one", "two"]), "both")
    picked = recipe.train(recipe.config("encoder_only", ["one", "two"]), "picked",
                          "--set", "distill.pick=random")  # fmt: skip
    first, second = (train_scalars(exp) for exp in (both, picked))
    assert {"distill/d_one", "distill/d_two"} <= set(first) & set(second)
    assert first["distill/d_one"] != second["distill/d_one"]
    # two terms of about 1 each: one an utterance if picked, on average
    assert second["loss"][0] < first["loss"][0]


def test_a_block_switched_off_is_gone(recipe) -> None:
    config = recipe.config("ctc", ["one", "two"])
    exp = recipe.train(config, "exp", "--set", "distill.d_two=", "--set", "max_epoch=2")
    resolved = yaml.safe_load((exp / "config.yaml").read_text())
    assert set(resolved["distill"]) == {"d_one"} == {f"d_{t}" for t in resolved["distill_teachers"]}
    assert resolved["max_epoch"] == 2 and len(epoch_lines(exp)) == 2


def test_stage_1_into_stage_2(recipe) -> None:
    first = recipe.train(recipe.config("encoder_only", ["one"], max_epoch=2), "first")
    # a learning rate of nothing: what is saved is what was started from
    config = recipe.config("transducer", optim_conf={"lr": 0.0})
    second = recipe.train(config, "second", "--init", first)
    plain = recipe.train(config, "plain")

    source = weights(first, "valid.loss.ave.pth")
    learnt = {k: v for k, v in source.items() if k.startswith("encoder.") and v.is_floating_point()}
    learnt = {k: v for k, v in learnt.items() if "running_" not in k}  # batch norm goes on
    started, untouched = weights(second, "1epoch.pth"), weights(plain, "1epoch.pth")
    assert len(learnt) > 40
    for name, value in learnt.items():
        torch.testing.assert_close(started[name], value, rtol=0, atol=0)
    assert any(not torch.equal(untouched[name], value) for name, value in learnt.items())
    assert not any(name.startswith("distillers") for name in started)


def test_other_parts_of_stage_1(recipe, capsys) -> None:
    first = recipe.train(recipe.config("ctc", optim_conf={"lr": 0.01}), "first")
    config = recipe.config("ctc", optim_conf={"lr": 0.0})
    second = recipe.train(config, "second", "--init", first, "--init-parts", "encoder,ctc")
    source, started = weights(first, "valid.loss.ave.pth"), weights(second, "1epoch.pth")
    torch.testing.assert_close(
        started["ctc.ctc_lo.weight"], source["ctc.ctc_lo.weight"], rtol=0, atol=0
    )
    capsys.readouterr()
    command = recipe.train_command(config, "third", "--init", first, "--init-parts", "ctc,joint")
    assert cli.main(command) == 1
    found = capsys.readouterr().err
    assert "--init-parts joint" in found and "its parts: ctc, decoder, encoder" in found
    assert not (recipe.root / "third").exists()


def test_other_initial_weights_are_another_experiment(recipe, capsys) -> None:
    first = recipe.train(recipe.config("encoder_only", ["one"]), "first")
    config = recipe.config("transducer")
    recipe.train(config, "second", "--init", first)
    file = (first / "valid.loss.ave.pth").resolve()
    torch.save({name: value + 1 for name, value in weights(first, file.name).items()}, file)
    assert cli.main(recipe.train_command(config, "second", "--init", first)) == 1
    assert "initial weights" in capsys.readouterr().err


def test_init_takes_the_statistics_over(recipe) -> None:
    measured = {"normalize": "global_mvn", "normalize_conf": {"norm_vars": True}}
    first = recipe.train(recipe.config("encoder_only", ["one"], **measured), "first")
    other = recipe.add_set("other", seed=7)
    config = recipe.config("transducer", **measured)
    second = recipe.train(config, "second", "--init", first, train=[other])
    file = yaml.safe_load((second / "config.yaml").read_text())["normalize_conf"]["stats_file"]
    assert file == str(first / "stats/train/feats_stats.npz")
    assert not (second / "stats").exists()


def test_init_from_an_unfinished_training(recipe, capsys) -> None:
    (recipe.root / "first").mkdir()
    command = recipe.train_command(
        recipe.config("transducer"), "exp", "--init", recipe.root / "first"
    )
    assert cli.main(command) == 1
    assert "finish that training first" in capsys.readouterr().err


def test_options_of_espnet(recipe) -> None:
    config = recipe.config("ctc", ["one"], optim_conf={"lr": 0.1})
    frozen = recipe.train(config, "frozen", "--", "--freeze_param", "encoder.embed")
    free = recipe.train(config, "free")
    still = recipe.train(
        recipe.config("ctc", ["one"], name="still", optim_conf={"lr": 0.0}), "still"
    )

    start, kept, moved = (weights(exp, "1epoch.pth") for exp in (still, frozen, free))
    embed = [name for name in start if name.startswith("encoder.embed.")]
    assert embed
    assert all(torch.equal(kept[name], start[name]) for name in embed)
    assert not any(torch.equal(moved[name], start[name]) for name in embed if "pe" not in name)
    assert not torch.equal(kept["ctc.ctc_lo.weight"], start["ctc.ctc_lo.weight"])


def test_global_mvn_reads_no_targets(recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_asr.targets.reader import TargetReader
    from distill_asr.train import training as train

    reads = {"statistics": 0, "training": 0}
    phase, collect, read = ["training"], train._collect_stats, TargetReader.stored

    def collecting(*args) -> None:
        phase[0] = "statistics"
        collect(*args)
        phase[0] = "training"

    def reading(self, utterance: str) -> np.ndarray:
        reads[phase[0]] += 1
        return read(self, utterance)

    monkeypatch.setattr(train, "_collect_stats", collecting)
    monkeypatch.setattr(TargetReader, "stored", reading)
    config = recipe.config("ctc", ["one"], normalize="global_mvn")
    exp = recipe.train(config, "exp with spaces & 'quotes': {x}")

    assert reads == {"statistics": 0, "training": 4}
    shapes = {path.name for path in (exp / "stats/train").glob("*_shape")}
    assert shapes == {"speech_shape", "text_shape"}
    statistics = np.load(exp / "stats/train/feats_stats.npz")
    stored = yaml.safe_load((exp / "config.yaml").read_text())
    assert stored["normalize_conf"]["stats_file"] == str(exp / "stats/train/feats_stats.npz")
    assert statistics["sum"].shape == (16,)


def test_done_is_skipped_quickly(recipe, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    config = recipe.config("ctc", ["one"])
    exp = recipe.train(config, "exp")
    before = {path: path.stat().st_mtime_ns for path in exp.rglob("*")}
    monkeypatch.setattr("distill_asr.train.training.train", lambda *a: pytest.fail("checked again"))
    assert cli.main(recipe.train_command(config, "exp")) == 0
    assert "training is done already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in exp.rglob("*")} == before


def test_more_epochs_continue(recipe) -> None:
    config = recipe.config("ctc", ["one"])
    exp = recipe.train(config, "exp")
    first = (exp / "1epoch.pth").stat().st_mtime_ns
    recipe.train(config, "exp", "--set", "max_epoch=3", "--", "--num_workers", "0")
    assert [line.split()[0] for line in epoch_lines(exp)] == ["1epoch", "2epoch", "3epoch"]
    assert (exp / "1epoch.pth").stat().st_mtime_ns == first
    assert len(train_scalars(exp)["distill/d_one"]) == 3

    straight = recipe.train(config, "straight", "--set", "max_epoch=3")
    interrupted, whole = (weights(e, "valid.loss.ave.pth") for e in (exp, straight))
    for name, value in whole.items():
        torch.testing.assert_close(interrupted[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--set", "optim_conf.lr=0.5"], "differs in optim_conf;"),
        (["--", "--freeze_param", "encoder.embed"], "differs in the options after --;"),
    ],
)
def test_another_experiment_is_refused(recipe, capsys, change: list[str], named: str) -> None:
    config = recipe.config("ctc", ["one"])
    exp = recipe.train(config, "exp")
    kept = (exp / "config.yaml").read_bytes()
    assert cli.main(recipe.train_command(config, "exp", *change)) == 1
    assert named in capsys.readouterr().err
    assert (exp / "config.yaml").read_bytes() == kept


def test_other_sets_and_other_targets_are_refused(recipe, capsys) -> None:
    config, more = recipe.config("ctc", ["one"]), recipe.add_set("more", seed=3)
    recipe.train(config, "exp")
    assert cli.main(recipe.train_command(config, "exp", train=[recipe.train_set, more])) == 1
    assert "differs in --train" in capsys.readouterr().err
    for file in (recipe.train_set / "targets/one").iterdir():
        file.unlink()
    recipe.dump(recipe.train_set, "one", weights_sha256="e" * 64)
    assert cli.main(recipe.train_command(config, "exp")) == 1
    assert (
        "differs in the content of its data, targets or initial weights" in capsys.readouterr().err
    )


# -- codes, targets for some, teachers in the step -----------------------------------


def rewrite_as_codes(recipe, *sets: Path) -> None:
    """Dump teacher ``one`` anew, as codes of one quantizer."""
    for path in sets:
        shutil.rmtree(path / "targets/one")
        codec = write_codebooks(path / "targets/one", TEACHERS["one"])
        recipe.dump(path, "one", codec=codec)


def edited(config: Path, **blocks: dict) -> Path:
    """The config with other distillers."""
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(content | {"distill": blocks}))
    return config


ONE = {"teacher": "one", "tap": "encoder", "loss": "l1"}


def test_codes_and_states_of_one_teacher(recipe) -> None:
    rewrite_as_codes(recipe, recipe.train_set, recipe.dev_set)
    codes = ONE | {"loss": "codebook", "weight": 0.1}
    config = edited(recipe.config("encoder_only", ["one"]), states=ONE, codes=codes)
    exp = recipe.train(config, "exp")
    train, valid = epoch_lines(exp)[0].split("[valid]")
    for part in (train, valid):
        assert "distill/states=" in part and "distill/codes=" in part
    assert train_scalars(exp)["distill/codes"][0] == pytest.approx(np.log(256), rel=0.2)
    saved = weights(exp, "1epoch.pth")
    assert saved["distillers.codes.head.weight"].shape == (2 * 4 * 256, 16)
    assert saved["distillers.states.head.weight"].shape == (2 * TEACHERS["one"], 16)
    assert (exp / "data/codebooks_one.safetensors").exists()


def test_states_from_codes_teach_what_those_states_teach(recipe) -> None:
    """Decoding in the step gives what a dump of the decoded states would have given."""
    rewrite_as_codes(recipe, recipe.train_set, recipe.dev_set)
    config = recipe.config("encoder_only", ["one"])
    coded = recipe.train(config, "coded")
    for path in (recipe.train_set, recipe.dev_set):
        reader = TargetReader(path / "targets/one")
        decoded = {utterance: reader[utterance] for utterance in reader}
        shutil.rmtree(path / "targets/one")
        writer = TargetWriter(path / "targets/one", target_settings())
        source = AudioSource(DataDir.read(path))
        writer.write_shard(0, source.sha256(source.ids), decoded.items())
        writer.finish(1, "one", "m", 20.0, source.fingerprint())
    plain = recipe.train(config, "plain")
    assert train_scalars(coded)["loss"] == pytest.approx(train_scalars(plain)["loss"], rel=1e-5)


def test_a_loss_on_codes_needs_them(recipe, capsys) -> None:
    config = edited(recipe.config("encoder_only", ["one"]), d_one=ONE | {"loss": "codebook"})
    assert cli.main(recipe.train_command(config, "exp")) == 1
    report = capsys.readouterr().err
    assert report.count("distill.d_one.loss: takes codes, but ") == 2  # of both sets
    assert not (recipe.root / "exp").exists()


def test_targets_for_some_utterances_only(recipe) -> None:
    labelled = recipe.add_set("labelled", teachers=(), seed=5)
    config = edited(recipe.config("ctc", ["one"]), d_one=ONE | {"missing": "skip"})
    exp = recipe.train(config, "exp", train=[recipe.train_set, labelled])
    log = (exp / "train.log").read_text()
    assert "targets_one.json: 4 of 8 utterances have no targets, and are skipped" in log
    assert 0.3 < train_scalars(exp)["distill/d_one/taught"][0] < 0.7
    assert train_scalars(exp)["distill/d_one"][0] > 0


class OnlineTeacher:
    """A speech model as an online teacher's file, and its dumped twin, in a recipe."""

    def __init__(self, recipe) -> None:
        save_speech_model(recipe.root / "model")
        self.file = recipe.root / "online.yaml"
        self.file.write_text(
            f"kind: speech\nmodel: {recipe.root / 'model'}\nlayers: [2]\nonline: true\n"
        )
        self.config = recipe.config("encoder_only", ["one"], max_epoch=2)
        self.block = ONE | {"teacher": str(self.file)}


@pytest.fixture
def online(recipe) -> OnlineTeacher:
    return OnlineTeacher(recipe)


def test_a_teacher_in_the_step_teaches_what_its_dump_teaches(recipe, online) -> None:
    sets = [str(recipe.train_set), str(recipe.dev_set)]
    assert cli.main(["dump", "--teacher", str(online.file), "--name", "whole", *sets]) == 0
    inside = recipe.train(edited(online.config, x=online.block), "inside")
    dumped = recipe.train(edited(online.config, x=ONE | {"teacher": "whole"}), "dumped")
    for tag in ("loss", "distill/x", "grad_norm"):
        expected = train_scalars(dumped)[tag]
        assert len(expected) == 2
        np.testing.assert_allclose(train_scalars(inside)[tag], expected, rtol=1e-5)
    for name, value in weights(dumped, "valid.loss.ave.pth").items():
        torch.testing.assert_close(
            weights(inside, "valid.loss.ave.pth")[name], value, rtol=1e-4, atol=1e-5
        )
    saved = weights(inside, "2epoch.pth")
    assert {name.split(".")[0] for name in saved} == {"encoder", "distillers"}
    assert sum(value.numel() for value in saved.values()) < 30_000


def test_a_student_with_text_is_judged_without_its_online_teacher(recipe, online) -> None:
    config = edited(recipe.config("ctc", ["one"]), x=online.block)
    exp = recipe.train(config, "exp")
    train, valid = epoch_lines(exp)[0].split("[valid]")
    assert "distill/x=" in train and "distill/x=" not in valid


def test_an_online_teacher_that_changed_is_another_experiment(recipe, online, capsys) -> None:
    config = edited(online.config, x=online.block)
    recipe.train(config, "exp")
    assert cli.main(recipe.train_command(config, "exp")) == 0  # done
    online.file.write_text(online.file.read_text().replace("[2]", "[1]"))
    assert cli.main(recipe.train_command(config, "exp")) == 1
    assert "differs in the content of its data" in capsys.readouterr().err
