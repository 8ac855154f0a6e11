"""What goes wrong in practice ends in one clear report, or mends itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.testing.fixtures import make_prepared_dir


@pytest.fixture
def problems(recipe, capsys: pytest.CaptureFixture):
    """Function that runs a training which must be refused; the lines of its report."""

    def refused(config: Path, *more: object, **sets) -> list[str]:
        capsys.readouterr()
        assert cli.main(recipe.train_command(config, "exp", *more, **sets)) == 1
        report = capsys.readouterr().err
        assert "Traceback" not in report
        _, found = report.split("distill-asr train: error: ")
        count, *lines = found.splitlines()
        assert count.split()[0] == str(len(lines))
        return lines

    return refused


def one(lines: list[str]) -> str:
    assert len(lines) == 1, lines
    return lines[0]


def test_teacher_never_dumped(recipe, problems) -> None:
    found = problems(recipe.config("encoder_only", ["one", "three"]))
    assert [line.split(":")[0] for line in found] == [
        str(path / "targets/three") for path in (recipe.train_set, recipe.dev_set)
    ]
    assert all("distill-asr dump --teacher" in line for line in found)
    assert not (recipe.root / "exp").exists()


def test_targets_of_other_audio(recipe, problems) -> None:
    config = recipe.config("ctc", ["one"])
    make_prepared_dir(recipe.train_set, seconds=(0.7, 1.6), seed=1)  # same ids, other lengths
    assert "stale: audio lengths of" in one(problems(config))


def test_targets_of_another_wav_scp(recipe, problems) -> None:
    config = recipe.config("ctc", ["one"])
    targets = recipe.add_set("other", seed=3) / "targets"
    shutil.rmtree(recipe.train_set / "targets")
    shutil.copytree(targets, recipe.train_set / "targets")
    found = problems(config)
    assert any("no targets for 4 utterance(s) (spk0-train-000," in line for line in found)
    assert any("targets for 4 utterance(s) (spk0-other-000," in line for line in found)


def test_targets_missing_for_some(recipe, problems) -> None:
    config = recipe.config("ctc", ["one"])
    make_prepared_dir(recipe.train_set, utterances=6, seed=1)
    found = one(problems(config))
    assert "no targets for 2 utterance(s) (spk0-train-004, spk1-train-005)" in found


def test_targets_cut_short(recipe, problems) -> None:
    config = recipe.config("ctc", ["one"])
    shard = sorted((recipe.train_set / "targets/one").glob("*.ark"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    assert f"{shard}: " in one(problems(config))


def test_text_missing(recipe, problems) -> None:
    (recipe.train_set / "text").unlink()
    found = one(problems(recipe.config("ctc", ["one"])))
    assert found.startswith(f"{recipe.train_set}: no text")


def test_audio_missing(recipe, problems) -> None:
    wav = DataDir.read(recipe.train_set).wav
    Path(wav["spk0-train-002"]).unlink()
    found = one(problems(recipe.config("ctc", ["one"])))
    assert "no audio file for 1 utterance(s) (spk0-train-002)" in found


def test_ids_that_two_sets_share(recipe, problems) -> None:
    (recipe.root / "dump/again").mkdir()
    again = recipe.add_set("again/train", seed=7)
    found = one(problems(recipe.config("ctc", ["one"]), train=[recipe.train_set, again]))
    assert f"{again}: 4 utterance ids also in {recipe.train_set} (spk0-train-000, " in found


def test_token_list_missing(recipe, problems) -> None:
    config = recipe.config("ctc")
    recipe.tokens.unlink()
    assert f"token_list: no such file: {recipe.tokens}" in one(problems(config))


def test_everything_in_one_report(recipe, problems) -> None:
    (recipe.dev_set / "text").unlink()
    recipe.tokens.unlink()
    (recipe.train_set / "utt2num_samples").unlink()
    found = problems(recipe.config("ctc", ["nobody"]), train=[recipe.train_set, "dump/nowhere"])
    expected = (
        "token_list",
        f"{recipe.dev_set}: no text",
        "no utt2num_samples",
        "no targets of teacher 'nobody'",
        "no such data directory",
    )
    for message in expected:
        assert any(message in line for line in found), message


def test_config_mistakes(recipe, problems) -> None:
    config = recipe.config("ctc", ["one"])
    found = problems(
        config, "--set", "encoder_conf.num_blokcs=2", "--set", "distill.d_one.tap=encoder:9",
        "--set", "distill.d_one.los=l1", "--set", "max_epohc=3", "--set", "optim=adamm",
    )  # fmt: skip
    for mistake in ("num_blokcs", "los", "max_epohc", "adamm"):
        assert any(mistake in line and str(config) in line for line in found), (mistake, found)
    found = problems(config, "--set", "distill.d_one.tap=encoder:9")
    assert "no 'encoder:9'" in one(found)


@pytest.mark.parametrize(
    "change", ["distill=[1]", "distill.d_one=l1", "model=", "init_param=x", "init_param=[x]"]
)
def test_config_of_a_wrong_shape(recipe, problems, change: str) -> None:
    assert problems(recipe.config("ctc", ["one"]), "--set", change)


def test_commas_and_colons(recipe, problems) -> None:
    config = recipe.config("ctc")
    found = problems(config, "--init", "a:b", "--output", recipe.root / "lr=0.1,big")
    assert len(found) == 2
    assert "splits paths at commas" in found[0] and "splits it at colons" in found[1]


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["checkpoint.pth", "1epoch.pth"])
def test_damaged_checkpoint(recipe, problems, name: str) -> None:
    config = recipe.config("ctc", ["one"])
    exp = recipe.train(config, "exp")
    halve(exp / name)
    found = one(problems(config, "--set", "max_epoch=2"))
    assert found.startswith(f"{exp / name}: damaged or cut short")
    assert f"remove {exp} and train again" in found


def test_checkpoint_that_runs_code(recipe, problems) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(recipe.root / "trapped"),)

    config = recipe.config("ctc", ["one"])
    exp = recipe.train(config, "exp")
    torch.save({"model": Trap()}, exp / "checkpoint.pth")
    assert "checkpoint.pth" in one(problems(config, "--set", "max_epoch=2"))
    assert not (recipe.root / "trapped").exists()


def test_damaged_init(recipe, problems) -> None:
    first = recipe.train(recipe.config("encoder_only", ["one"]), "first")
    halve((first / "valid.loss.ave.pth").resolve())
    assert "damaged or cut short" in one(problems(recipe.config("ctc"), "--init", first))


def epochs(experiment: Path) -> list[int]:
    """Epochs in the log, in the order in which they ended."""
    return [
        int(n) for n in re.findall(r"(\d+)epoch results", (experiment / "train.log").read_text())
    ]


def test_killed_while_saving(recipe) -> None:
    """The checkpoint of an epoch is there, its model and the averages are not."""
    config = recipe.config("ctc", ["one"], max_epoch=3)
    whole = recipe.train(config, "whole")
    exp = recipe.train(config, "exp", "--set", "max_epoch=2")
    for name in ("done.json", "2epoch.pth", "valid.loss.ave.pth", "valid.loss.ave_1best.pth"):
        (exp / name).unlink()
    litter = [exp / ".checkpoint.pth.x1y2.tmp", exp / ".2epoch.pth.ab.tmp"]
    for path in litter:
        path.write_bytes(b"half")

    recipe.train(config, "exp")
    assert epochs(exp) == [1, 2, 3]
    assert not any(path.exists() for path in litter)
    first, second = (torch.load(e / "valid.loss.ave.pth", weights_only=True) for e in (whole, exp))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-5, atol=1e-6)


def test_killed_while_collecting_statistics(recipe) -> None:
    half = recipe.root / "exp/stats.unfinished/train"
    half.mkdir(parents=True)
    (half / "feats_stats.npz").write_bytes(b"half")
    exp = recipe.train(recipe.config("ctc", normalize="global_mvn"), "exp")
    assert (exp / "stats/train/feats_stats.npz").exists()
    assert not (exp / "stats.unfinished").exists()


@pytest.mark.slow
def test_killed_twice(recipe) -> None:
    """kill -9 in the middle of training; the same command goes on."""
    config, exp = recipe.config("transducer", ["one"], max_epoch=150), recipe.root / "exp"
    command = [sys.executable, "-m", "distill_asr", *recipe.train_command(config, "exp")]
    reached = 0
    for _ in range(2):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while not (exp / f"{reached + 1}epoch.pth").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (exp / "done.json").exists()
        reached = max(epochs(exp))
        assert 0 < reached < 150

    recipe.train(config, "exp")
    done = epochs(exp)
    assert sorted(set(done)) == list(range(1, 151)) and done == sorted(done)
    assert len(done) <= 152  # an epoch killed between its log line and its checkpoint runs again
    assert not list(exp.rglob(".*.tmp"))
    assert (exp / "done.json").exists()


def test_unfriendly_paths(recipe, capsys) -> None:
    """Spaces, what shells and YAML care about, and other scripts."""
    odd = type(recipe)(recipe.root / "Größe $(x) & 'q' \"d\"; #1 [a] {b}: 日本 *")
    config = odd.config("ctc", ["one"], normalize="global_mvn")
    first = odd.train(odd.config("encoder_only", ["one"]), "stage 1")
    exp = odd.root / "exp"
    capsys.readouterr()
    assert cli.main(odd.train_command(config, "exp", "--init", first)) == 1
    assert "splits it at colons" in capsys.readouterr().err
    odd.train(config, "exp")
    decode = ["decode", "--exp", exp, "--data", odd.dev_set, "--beam-size", "2"]
    assert cli.main([str(word) for word in decode]) == 0
    assert len((exp / "decode/dev/text").read_text().splitlines()) == 2
