"""``import distill_asr``: the same as the verbs, byte for byte and word for word."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

pytest.importorskip("espnet2")
import distill_asr as da
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.decode.options import DecodeOptions
from distill_asr.testing.fixtures import tiny_speech_teacher

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}


@pytest.fixture(scope="module")
def made(make_recipe):
    """A recipe, and a student that the function has trained."""
    recipe = make_recipe("api")
    config = recipe.config("ctc", ["one"], **PURE_CTC)
    exp = da.train_student(config, recipe.train_set, recipe.dev_set, recipe.root / "exp/a_seed1")
    return recipe, config, exp


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, distill_asr as da; assert 'torch' not in sys.modules; da.load_student"
    code += "; assert 'torch' in sys.modules and 'load_student' in dir(da)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'load_studnt'"):
        da.load_studnt  # noqa: B018


def test_what_is_offered_is_typed_and_there() -> None:
    stub = Path(da.__file__).with_suffix(".pyi").read_text()
    offered = set(da._OFFERED)
    assert offered == {line.split(" as ")[1] for line in stub.splitlines() if " as " in line}
    assert all(hasattr(da, name) for name in offered)


def test_training_is_the_verbs(made) -> None:
    recipe, config, exp = made
    other = recipe.train(config, "exp/b_seed1")
    weights, expected = (torch.load(one / "valid.loss.ave.pth") for one in (exp, other))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    before = (exp / "done.json").stat().st_mtime_ns
    da.train_student(config, recipe.train_set, recipe.dev_set, exp)  # done already
    assert (exp / "done.json").stat().st_mtime_ns == before


def test_words_are_the_verbs(made) -> None:
    recipe, _, exp = made
    assert cli.main(["decode", "--exp", str(exp), "--data", str(recipe.train_set)]) == 0
    rows = [json.loads(line) for line in (exp / "decode/train/nbest.jsonl").open()]
    wav = DataDir.read(recipe.train_set).wav
    student = da.load_student(exp)
    found = student.transcribe([wav[row["utt"]] for row in rows])
    for one, row in zip(found, rows, strict=True):
        best = row["nbest"][0]
        assert (one.text, one.score, list(one.tokens)) == (
            best["text"], best["score"], best["tokens"],
        )  # fmt: skip
        assert one.times == tuple(frame * row["step_ms"] / 1000 for frame in best["frames"])
    path = wav[rows[0]["utt"]]
    samples, rate = soundfile.read(path, dtype="float32")
    assert student.transcribe(path) == found[0] == student.transcribe(samples)
    assert student.transcribe(torch.from_numpy(samples), rate=rate) == found[0]


def test_all_bad_audio_at_once(made, tmp_path: Path) -> None:
    student = da.load_student(made[2])
    bad = [tmp_path / "gone.wav", np.zeros(5, np.int16), np.zeros((2, 2)), np.full(9, np.nan)]
    with pytest.raises(da.UserError) as failed:
        student.transcribe(bad)
    assert len(failed.value.problems) == 4
    with pytest.raises(da.UserError, match="--beam-size 0"):
        student.transcribe(np.zeros(9), DecodeOptions(beam_size=0))
    with pytest.raises(da.UserError, match="needs the whole utterance"):
        student.stream()


def test_dumps_are_the_verbs(made, tmp_path: Path) -> None:
    recipe = made[0]
    model = tiny_speech_teacher(tmp_path / "hubert")
    teacher = tmp_path / "t.yaml"
    content = {"kind": "speech", "model": str(model), "layers": [2], "codec": {"name": "fp16"}}
    teacher.write_text(yaml.safe_dump(content))
    (by_function,) = da.dump_targets(recipe.dev_set, teacher, name="function")
    command = ["dump", str(recipe.dev_set), "--teacher", str(teacher), "--name", "verb"]
    assert cli.main(command) == 0
    arks = sorted(by_function.glob("*.ark"))
    by_verb = by_function.parent / "verb"
    assert arks and all(one.read_bytes() == (by_verb / one.name).read_bytes() for one in arks)
    with pytest.raises(da.UserError, match="--nj: given 0"):
        da.dump_targets(recipe.dev_set, teacher, nj=0)


def test_scores_are_the_verbs(made, tmp_path: Path) -> None:
    recipe = made[0]
    exp, dump = tmp_path / "exp", tmp_path / "dump"
    (dump / "test").mkdir(parents=True)
    shutil.copy(recipe.train_set / "text", dump / "test/text")
    for name in ("a", "b"):
        (exp / f"{name}_seed1/decode/test").mkdir(parents=True)
        shutil.copy(dump / "test/text", exp / f"{name}_seed1/decode/test/text")
    scores = da.score_systems(["a", "b"], ["test"], exp=exp, dump=dump)
    written = (exp / "RESULTS.md").read_text()
    assert scores.table == written and len(scores.results) == 2
    command = ["score", "--systems", "a,b", "--seeds", "1", "--sets", "test", "--exp", str(exp)]
    assert cli.main([*command, "--dump", str(dump), "--out", str(exp / "verb.md")]) == 0
    assert (exp / "verb.md").read_text() == written
    with pytest.raises(da.UserError, match="'c' is not among the systems a, b"):
        da.score_systems(["a", "b"], ["test"], baseline="c", exp=exp, dump=dump)
