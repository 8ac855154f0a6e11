"""``distill-asr pseudo-label``: which utterances it keeps, and what it writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.data.datadir import DataDir, validate
from distill_asr.data.record import CONFIDENCE
from distill_asr.data.record import LABELS as RECORD
from distill_asr.decode.alignment import align
from distill_asr.decode.labels import Label, choose_labels
from distill_asr.decode.recognise import read_speech
from distill_asr.decode.search import Hypothesis, encode
from distill_asr.decode.student_transcriber import confidence
from distill_asr.errors import UserError
from distill_asr.experiments.student import load_student
from distill_asr.testing.fixtures import TOKENS, make_prepared_dir
from distill_asr.testing.recognisers import save_recogniser

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
STUDENTS = {"transducer": ("transducer", {}), "ctc": ("ctc", PURE_CTC), "hybrid": ("ctc", {})}


@pytest.fixture(scope="module")
def exps(tmp_path_factory) -> dict[str, Path]:
    """Random students with opinions; some utterances give ``ctc`` no words, some unknown ones."""
    root = tmp_path_factory.mktemp("exp")
    return {
        name: save_recogniser(root / name, model, seed=2 * (name == "ctc"), **changes)
        for name, (model, changes) in STUDENTS.items()
    }


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory) -> Path:
    return make_prepared_dir(tmp_path_factory.mktemp("dump") / "unlab", utterances=6, text=False)


def pseudo_label(exp: Path, data: Path, output: Path, *more: object) -> int:
    words = ["pseudo-label", "--exp", exp, "--data", data, "--output", output, *more]
    return cli.main([str(word) for word in words])


def confidences(output: Path) -> dict[str, float]:
    lines = (output / CONFIDENCE).read_text().splitlines()
    return {utt: float(value) for utt, value in map(str.split, lines)}


@pytest.mark.parametrize("method", ["greedy", "beam"])
@pytest.mark.parametrize("student", STUDENTS)
def test_a_prepared_dir_of_what_was_heard(exps, unlabelled, tmp_path, student, method) -> None:
    output = tmp_path / "new/pseudo"
    options = ["--method", method, "--beam-size", 3, "--batch-size", 4]
    assert pseudo_label(exps[student], unlabelled, output, *options) == 0
    new, facts = validate(output, 16000)
    source = DataDir.read(unlabelled)
    assert new.wav.items() <= source.wav.items() and len(new) == len(facts)
    assert new.num_samples.items() <= source.num_samples.items()
    assert new.utt2spk.items() <= source.utt2spk.items()
    assert all(new.text.values()) and not any("<" in words for words in new.text.values())
    found = confidences(output)
    assert list(found) == sorted(new.wav) and max(found.values()) <= 0
    assert [path.name for path in output.parent.iterdir()] == ["pseudo"]  # nothing temporary stays

    decode = ["decode", "--exp", exps[student], "--data", unlabelled, "--output", tmp_path / "d"]
    assert cli.main([str(word) for word in [*decode, *options]]) == 0
    heard = dict(
        line.split(" ", 1) for line in (tmp_path / "d/text").read_text().splitlines() if " " in line
    )
    assert new.text == {utt: words for utt, words in heard.items() if "<unk>" not in words}
    if student == "ctc":  # some utterances with no words, some with unknown ones
        assert len(new) < len(heard) < len(source)


def test_confidence_is_the_best_alignment_a_token(exps, unlabelled, tmp_path) -> None:
    """Beam search over a transducer, with its blanks, each utterance by its own length."""
    exp, output, beam = exps["transducer"], tmp_path / "pseudo", ["--method", "beam"]
    assert pseudo_label(exp, unlabelled, output, *beam) == 0
    decode = ["decode", "--exp", exp, "--data", unlabelled, "--output", tmp_path / "d", *beam]
    assert cli.main([str(word) for word in [*decode, "--timestamps"]]) == 0
    rows = [json.loads(line) for line in (tmp_path / "d/nbest.jsonl").read_text().splitlines()]
    heard = {row["utt"]: row["nbest"][0]["tokens"] for row in rows}
    student, _ = load_student(exp, "valid.loss.ave.pth")
    wav, found = DataDir.read(unlabelled).wav, confidences(output)
    assert found
    for utt, value in found.items():
        tokens = [TOKENS.index(token) for token in heard[utt]]
        encoded = encode(student, torch.from_numpy(read_speech(utt, wav[utt], 16000)))
        path = align(student, encoded, tokens)
        assert value == pytest.approx(path.score / len(tokens), abs=1e-3)
    assert confidence(Hypothesis([3, 4], -3.0)) == -1.5
    assert confidence(Hypothesis([3, 4], -3.0, [0, 1], -5.0)) == -2.5
    assert confidence(Hypothesis([], 0.0)) == -math.inf


LABELS = st.dictionaries(
    st.text("uvwxyz", min_size=1, max_size=3),
    st.builds(Label, st.sampled_from(["", "a b", "c", "<unk>", "a<unk>"]), st.floats(-5, 0)),
    max_size=12,
)


@given(labels=LABELS, lowest=st.none() | st.floats(-5, 0), share=st.none() | st.floats(0.01, 1))
def test_choice(labels, lowest, share) -> None:
    usable = {u for u, one in labels.items() if one.words in ("a b", "c")}
    try:
        kept = choose_labels(labels, lowest, share)
    except UserError:
        best = max((labels[utt].confidence for utt in usable), default=-math.inf)
        assert not usable or best < lowest
        return
    assert kept == sorted(set(kept)) and set(kept) <= usable and kept
    left = [labels[utt].confidence for utt in usable - set(kept)]
    assert max(left, default=-math.inf) <= min(labels[utt].confidence for utt in kept)
    if lowest is not None:
        assert min(labels[utt].confidence for utt in kept) >= lowest
    if lowest is None:
        assert len(kept) == math.ceil((share or 1) * len(usable))


def test_report_and_error_rate(exps, tmp_path, capsys) -> None:
    """What is kept is said, and how wrong it is where the truth is known."""
    data = make_prepared_dir(tmp_path / "labelled", utterances=6)
    exp, output = exps["transducer"], tmp_path / "half"
    assert pseudo_label(exp, data, output, "--keep-best", 0.5) == 0
    said = capsys.readouterr().out
    new = DataDir.read(output)
    assert f"kept: {len(new)} utterances" in said and "quantiles of confidence: 0 %: -" in said
    assert "WER of the labels: all " in said
    assert pseudo_label(exp, data, output, "--keep-best", 0.5) == 0
    assert capsys.readouterr().out == f"{output}: labelled already\n{said}"

    # labels that are the truth have no errors
    truth = tmp_path / "truth"
    told = DataDir.read(data).text | new.text
    truth.write_text("".join(f"{utt} {words}\n" for utt, words in told.items()))
    other = tmp_path / "other"
    assert pseudo_label(exp, data, other, "--keep-best", 0.5, "--reference", truth) == 0
    assert "kept 0.00 %" in capsys.readouterr().out


def test_what_is_there_is_not_touched(exps, unlabelled, tmp_path, capsys) -> None:
    output = tmp_path / "pseudo"
    assert pseudo_label(exps["transducer"], unlabelled, output) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    made_from = json.loads(before[RECORD])["made_from"]
    assert made_from["utterances"] == 6 and len(made_from["checkpoint"]) == 64
    capsys.readouterr()
    assert pseudo_label(exps["transducer"], unlabelled, output, "--keep-best", 0.5) == 1
    assert "made with another keep_best; remove it" in capsys.readouterr().err
    assert pseudo_label(exps["ctc"], unlabelled, output) == 1
    assert "made with another checkpoint" in capsys.readouterr().err
    assert pseudo_label(exps["ctc"], unlabelled, tmp_path) == 1
    assert "exists, and holds no pseudo-labels" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_failure_leaves_nothing_but_what_was_heard(
    exps, unlabelled, tmp_path, capsys, monkeypatch
) -> None:
    output = tmp_path / "here/pseudo"
    assert pseudo_label(exps["transducer"], unlabelled, output, "--min-confidence", -0.0001) == 1
    assert "the best of all has -" in capsys.readouterr().err
    assert [path.name for path in output.parent.iterdir()] == [".pseudo.heard.jsonl"]

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("distill_asr.decode.label_dir.write_text_atomic", fails)
    with pytest.raises(OSError, match="disk full"):
        pseudo_label(exps["transducer"], unlabelled, output)
    assert [path.name for path in output.parent.iterdir()] == [".pseudo.heard.jsonl"]


def test_mistakes(exps, unlabelled, tmp_path, capsys) -> None:
    exp = exps["transducer"]

    def report(*more: object, exp: Path = exp, data: Path = unlabelled) -> str:
        capsys.readouterr()
        assert pseudo_label(exp, data, tmp_path / "out", *more) == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "--keep-best 1.5: expected a share" in report("--keep-best", 1.5)
    assert "--min-confidence 0.5: expected the logarithm" in report("--min-confidence", 0.5)
    assert "2 problems" in report("--batch-size", 0, "--beam-size", 0)
    assert "is the training in" in report(exp=tmp_path)
    assert "no such data directory" in report(data=tmp_path / "nowhere")
    assert "no such file" in report("--reference", tmp_path / "nothing")
    (tmp_path / "part").write_text("someone else\n")
    assert "no text for 6 utterance(s)" in report("--reference", tmp_path / "part")
    bare = DataDir.read(unlabelled)
    DataDir(tmp_path / "bare", bare.wav, None, bare.utt2spk).write(tmp_path / "bare")
    assert "has no utt2num_samples" in report(data=tmp_path / "bare")
    assert pseudo_label(exp, unlabelled, unlabelled) == 1
    assert "--data and --output are both" in capsys.readouterr().err
    usage = pseudo_label(exp, unlabelled, tmp_path / "o", "--keep-best", 1, "--min-confidence", -1)
    assert usage == 2


def test_audio_replaced_in_place_is_labelled_again(exps, unlabelled, tmp_path, capsys) -> None:
    data, output = tmp_path / "data", tmp_path / "pseudo"
    make_prepared_dir(data, utterances=2)
    assert pseudo_label(exps["transducer"], data, output) == 0
    for path in (data / "wav").glob("*.wav"):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, samples[::-1], rate)
    before = (output / CONFIDENCE).read_bytes()
    capsys.readouterr()
    assert pseudo_label(exps["transducer"], data, output) == 0
    assert "labelled already" not in capsys.readouterr().out
    assert (output / CONFIDENCE).read_bytes() != before
    assert pseudo_label(exps["transducer"], data, output) == 0
    assert "labelled already" in capsys.readouterr().out
