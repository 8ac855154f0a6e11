"""``distill-asr decode`` with every kind of student, and its files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.experiments.student import load_student
from distill_asr.testing.fixtures import TOKENS

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
STUDENTS = {"ctc": ("ctc", PURE_CTC), "hybrid": ("ctc", {}), "transducer": ("transducer", {})}
BLANK, SPACE, END = 0, TOKENS.index("<space>"), len(TOKENS) - 1


@pytest.fixture(scope="module")
def trained(make_recipe):
    """Function that gives a student which has learnt something, trained when first asked for."""
    recipe, made = make_recipe("trained"), {}

    def train(name: str) -> tuple[Path, Path]:
        if name not in made:
            model, changes = STUDENTS[name]
            epochs = 60 if name == "transducer" else 30
            changes = changes | {"max_epoch": epochs, "batch_size": 4, "optim_conf": {"lr": 0.01}}
            config = recipe.config(model, ["one"], name=name, keep_nbest_models=1, **changes)
            made[name] = recipe.train(config, name, valid=[recipe.train_set])
        return made[name], recipe.train_set

    return train


def decode(exp: Path, data: Path, *more: object) -> int:
    return cli.main([str(word) for word in ["decode", "--exp", exp, "--data", data, *more]])


def table(path: Path) -> dict[str, str]:
    """Kaldi ``text``, empty transcripts and all."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines) and not any(line != line.strip() for line in lines)
    return {line.split()[0]: line.partition(" ")[2] for line in lines}


@pytest.mark.parametrize("method", ["beam", "greedy"])
@pytest.mark.parametrize("student", STUDENTS)
def test_files(trained, tmp_path: Path, student: str, method: str) -> None:
    exp, data = trained(student)
    out = tmp_path / "out"
    options = ["--output", out, "--method", method, "--beam-size", 4, "--nbest", 3]
    assert decode(exp, data, *options) == 0

    text = table(out / "text")
    assert list(text) == sorted(DataDir.read(data).wav)
    assert any(text.values()), "the student has learnt nothing, so this shows nothing"
    assert set("".join(text.values())) <= set("abcd ")
    rows = [json.loads(line) for line in (out / "nbest.jsonl").read_text().splitlines()]
    assert {row["utt"]: row["nbest"][0]["text"] for row in rows} == text
    several = method == "beam" and student != "ctc"
    assert any(len(row["nbest"]) > 1 for row in rows) == several
    for row in rows:
        assert len({best["text"] for best in row["nbest"]}) == len(row["nbest"])
        assert 1 <= len(row["nbest"]) <= 3
        scores = [best["score"] for best in row["nbest"]]
        assert scores == sorted(scores, reverse=True) and max(scores) <= 0


def test_ctc_best_path(trained, tmp_path: Path) -> None:
    exp, data = trained("ctc")
    assert decode(exp, data, "--output", tmp_path, "--method", "greedy") == 0
    student, _ = load_student(exp, "valid.loss.ave.pth")
    found = table(tmp_path / "text")
    for utt, path in DataDir.read(data).wav.items():
        speech = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        with torch.no_grad():
            encoded, _ = student.encode(speech[None], torch.tensor([len(speech)]))
            path = (encoded[0] @ student.ctc.ctc_lo.weight.T + student.ctc.ctc_lo.bias).argmax(1)
        tokens = [t for t, _ in itertools.groupby(path.tolist()) if t not in (BLANK, END)]
        words = "".join(" " if t == SPACE else TOKENS[t] for t in tokens)
        assert found[utt] == words.strip()


def test_transducer_score_is_a_sum_over_alignments(trained, tmp_path: Path) -> None:
    """A wide beam finds no more than the model's full probability of that text."""
    exp, data = trained("transducer")
    assert decode(exp, data, "--output", tmp_path, "--beam-size", 8) == 0
    student, _ = load_student(exp, "valid.loss.ave.pth")
    wav = DataDir.read(data).wav
    for line in (tmp_path / "nbest.jsonl").read_text().splitlines():
        row = json.loads(line)
        text, score = row["nbest"][0]["text"], row["nbest"][0]["score"]
        ids = torch.tensor(
            [[SPACE if c == " " else TOKENS.index(c) for c in text]], dtype=torch.int64
        )
        speech = torch.from_numpy(soundfile.read(wav[row["utt"]], dtype="float32")[0])[None]
        with torch.no_grad():
            encoded, lengths = student.encode(speech, torch.tensor([speech.size(1)]))
            loss = student.transducer_loss(encoded, lengths, ids, torch.tensor([len(text)]))
        assert score <= -loss.item() + 1e-3
        assert score > -loss.item() - 5  # and it is about the same quantity


def test_each_utterance_for_itself(trained, tmp_path: Path) -> None:
    """Neither the order nor the company of utterances matters."""
    exp, data = trained("transducer")
    assert decode(exp, data, "--output", tmp_path / "all") == 0
    whole, read = table(tmp_path / "all/text"), DataDir.read(data)
    for utt in whole:
        read.select([utt]).write(tmp_path / utt)
        assert decode(exp, tmp_path / utt) == 0
        assert table(exp / "decode" / utt / "text") == {utt: whole[utt]}


def test_several_sets_are_decoded_by_one_student(
    trained, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp, data = trained("ctc")
    assert decode(exp, data, "--output", tmp_path / "all") == 0
    read = DataDir.read(data)
    first, second = (sorted(read.wav)[part::2] for part in (0, 1))
    sets = [tmp_path / "x", tmp_path / "y"]
    for part, folder in zip((first, second), sets, strict=True):
        read.select(part).write(folder)
    from distill_asr.experiments import student as model

    load, calls = model.load_student, []
    monkeypatch.setattr(model, "load_student", lambda *a: calls.append(a) or load(*a))
    assert decode(exp, *sets) == 0 and len(calls) == 1
    both = table(exp / "decode/x/text") | table(exp / "decode/y/text")
    assert both == table(tmp_path / "all/text")
    (exp / "decode/y/decode.json").unlink()
    capsys.readouterr()
    assert decode(exp, *sets) == 0
    said = f"{exp}/decode/x: decoded already\n{exp}/decode/y/text: {len(second)} utterance(s)\n"
    assert capsys.readouterr().out == said


def test_nothing_recognised(trained, tmp_path: Path) -> None:
    """Silence may give an empty hypothesis, which is a line with an id only."""
    exp, _ = trained("ctc")
    soundfile.write(tmp_path / "s.wav", np.zeros(8000), 16000)
    silent = DataDir(
        tmp_path / "silent", {"s": str(tmp_path / "s.wav")}, None, {"s": "s"}, {"s": 8000}
    )
    silent.write(silent.path)
    from distill_asr.decode import searches

    search = searches.build_search
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "build_search", lambda *a: _blanks(search(*a)))
        assert decode(exp, silent.path, "--output", tmp_path / "out") == 0
    assert (tmp_path / "out/text").read_text() == "s\n"
    assert json.loads((tmp_path / "out/nbest.jsonl").read_text())["nbest"][0]["text"] == ""


def _blanks(search):
    """The search over a student that is sure of blanks."""
    with torch.no_grad():
        search.student.ctc.ctc_lo.bias[BLANK] += 1000
    return search


def test_done_is_skipped(trained, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    exp, data = trained("ctc")
    out = ["--output", tmp_path / "out"]
    assert decode(exp, data, *out) == 0
    calls = []
    from distill_asr.decode import searches

    search = searches.build_search
    monkeypatch.setattr(searches, "build_search", lambda *a: calls.append(a) or search(*a))
    assert decode(exp, data, *out) == 0 and not calls
    assert "decoded already" in capsys.readouterr().out
    weights = torch.load(exp / "valid.loss.ave.pth", weights_only=True)
    torch.save({k: v * 1.1 if v.is_floating_point() else v for k, v in weights.items()},
               tmp_path / "other.pth")  # fmt: skip
    changes = (["--overwrite"], ["--checkpoint", tmp_path / "other.pth"], ["--method", "greedy"])
    for number, change in enumerate(changes, start=1):
        assert decode(exp, data, *out, *change) == 0
        assert len(calls) == number


def test_other_audio_under_the_same_name_is_decoded_again(trained, tmp_path: Path) -> None:
    exp, data = trained("ctc")
    read = DataDir.read(data)
    first, second = sorted(read.wav)[:2]
    for utt in (first, second):
        part = read.select([utt])
        wav, samples = {"u": part.wav[utt]}, {"u": part.num_samples[utt]}
        DataDir(tmp_path / "d", wav, None, {"u": "u"}, samples).write(tmp_path / "d")
        assert decode(exp, tmp_path / "d", "--output", tmp_path / "out") == 0
        marker = json.loads((tmp_path / "out/decode.json").read_text())
        assert marker["utterances"] == 1
    assert decode(exp, data, "--output", tmp_path / "all") == 0
    assert table(tmp_path / "out/text")["u"] == table(tmp_path / "all/text")[second]


def test_mistakes(trained, tmp_path: Path, capsys) -> None:
    exp, data = trained("ctc")

    def report(*arguments: object) -> str:
        capsys.readouterr()
        assert decode(*arguments) == 1
        return capsys.readouterr().err

    assert "is the training in" in report(tmp_path, data)
    assert "no such file" in report(exp, data, "--checkpoint", "9epoch.pth")
    assert "no such data directory" in report(exp, tmp_path / "nowhere")
    found = report(exp, data, data, tmp_path / "nowhere", "--output", tmp_path / "out")
    assert "3 problems" in found and f"2 data dirs are named {data.name}" in found
    assert "expected one data dir with it, not 3" in found
    found = report(exp, data, "--beam-size", 0, "--nbest", 0, "--ctc-weight", 2)
    assert "3 problems" in found
    assert "at most the student's 8 tokens" in report(trained("hybrid")[0], data, "--beam-size", 9)

    damaged = tmp_path / "exp"
    damaged.mkdir()
    (damaged / "config.yaml").write_bytes((exp / "config.yaml").read_bytes())
    (damaged / "half.pth").write_bytes((exp / "valid.loss.ave.pth").read_bytes()[:2000])
    assert "damaged or cut short" in report(damaged, data, "--checkpoint", "half.pth")


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_unprepared_audio_is_refused(trained, tmp_path, capsys, rate: int, channels: int) -> None:
    exp, _ = trained("ctc")
    soundfile.write(tmp_path / "u.wav", np.zeros((4000, channels)), rate)
    wav = {"u": str(tmp_path / "u.wav")}
    DataDir(tmp_path / "d", wav, None, {"u": "u"}, {"u": 4000}).write(tmp_path / "d")
    assert decode(exp, tmp_path / "d") == 1
    assert f"{rate} Hz, {channels} channel(s), expected 16000 Hz mono" in capsys.readouterr().err


def test_stage_1_recognises_nothing(make_recipe, capsys) -> None:
    recipe = make_recipe("stage_1")
    exp = recipe.train(recipe.config("encoder_only", ["one"]), "first")
    capsys.readouterr()
    assert decode(exp, recipe.dev_set) == 1
    assert "cannot be decoded; train stage 2" in capsys.readouterr().err


def test_train_decode_score(make_recipe, capsys) -> None:
    recipe = make_recipe("score")
    for system, teachers in (("plain", []), ("taught", ["one"])):
        config = recipe.config("ctc", teachers, name=system, **PURE_CTC)
        exp = recipe.train(config, f"exp/{system}_seed1")
        assert decode(exp, recipe.dev_set) == 0
    capsys.readouterr()
    score = ["score", "--exp", recipe.root / "exp", "--dump", recipe.root / "dump"]
    score += ["--systems", "plain,taught", "--seeds", "1", "--sets", "dev"]
    score += ["--out", recipe.root / "RESULTS.md"]
    assert cli.main([str(word) for word in score]) == 0
    table_rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith("| plain") for row in table_rows)
    assert any(row.startswith("| taught") for row in table_rows)
