"""``distill-asr decode`` with a language model and with timestamps, on untrained students."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.testing.fixtures import TOKENS, make_prepared_dir
from distill_asr.testing.language_models import save_language_model
from distill_asr.testing.recognisers import save_recogniser

PURE_CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
STUDENTS = {"transducer": ("transducer", {}), "ctc": ("ctc", PURE_CTC), "hybrid": ("ctc", {})}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Students, language models and a prepared set of two utterances."""
    root = tmp_path_factory.mktemp("root")
    for name, (model, changes) in STUDENTS.items():
        save_recogniser(root / name, model, **changes)
    save_language_model(root / "lm_c", favourite="c")
    save_language_model(root / "lm_other", tokens=[*TOKENS[:4], "e", *TOKENS[5:]])
    make_prepared_dir(root / "set", utterances=2)
    return root


def decode(root: Path, student: str, output: Path, *more: object) -> int:
    words = ["decode", "--exp", root / student, "--data", root / "set", "--output", output]
    return cli.main([str(word) for word in [*words, "--beam-size", 3, *more]])


def rows(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "nbest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("student", ["transducer", "hybrid"])
def test_language_model(root, tmp_path, student: str) -> None:
    """Weight 0 changes nothing; a heavy one changes the words; the record says which it was."""
    outputs = {}
    for weight in (None, 0, 5):
        outputs[weight] = tmp_path / str(weight)
        lm = [] if weight is None else ["--lm", root / "lm_c", "--lm-weight", weight]
        assert decode(root, student, outputs[weight], *lm) == 0
    assert rows(outputs[0]) == rows(outputs[None])
    assert rows(outputs[5]) != rows(outputs[None])
    records = [json.loads((path / "decode.json").read_text()) for path in outputs.values()]
    assert "lm" not in records[0] and records[1]["lm"]["weight"] == 0
    assert len(records[2]["lm"]["checkpoint"]) == 64


def test_language_model_of_a_hybrid_student_has_its_say(root, tmp_path) -> None:
    lm = ["--lm", root / "lm_c", "--lm-weight", 20, "--ctc-weight", 0]
    assert decode(root, "hybrid", tmp_path, *lm) == 0
    assert all(set(row["nbest"][0]["text"]) == {"c"} for row in rows(tmp_path))


def test_another_weight_is_another_decoding(root, tmp_path, capsys) -> None:
    lm = ["--lm", root / "lm_c", "--lm-weight"]
    for weight, skipped in ((0.1, False), (0.1, True), (0.2, False)):
        assert decode(root, "transducer", tmp_path, *lm, weight) == 0
        assert ("decoded already" in capsys.readouterr().out) == skipped


@pytest.mark.parametrize(
    ("student", "options", "keys"),
    [
        ("transducer", ["--timestamps"], True),
        ("transducer", [], False),
        ("transducer", ["--method", "greedy"], True),
        ("ctc", [], True),
        ("hybrid", [], False),
    ],
)
def test_timestamps(root, tmp_path, student: str, options: list, keys: bool) -> None:
    """Tokens with their frames, which lie in the audio and never go back; words stay the same."""
    assert decode(root, student, tmp_path, "--nbest", 2, *options) == 0
    for row in rows(tmp_path):
        assert ("step_ms" in row) == keys
        for entry in row["nbest"]:
            assert ("frames" in entry) == ("tokens" in entry) == keys
            if keys:
                words = "".join(" " if t == "<space>" else t for t in entry["tokens"])
                assert entry["text"] == words.replace("<sos/eos>", "").strip()
                assert len(entry["frames"]) == len(entry["tokens"])
                assert entry["frames"] == sorted(entry["frames"])
                assert all(0 <= 40 * frame < 1500 for frame in entry["frames"])


def test_mistakes(root, tmp_path, capsys) -> None:
    def report(student: str, *more: object) -> str:
        capsys.readouterr()
        assert decode(root, student, tmp_path, *more) == 1
        return capsys.readouterr().err

    lm = ["--lm", root / "lm_c"]
    assert "greedy search takes no language model" in report(
        "transducer", *lm, "--method", "greedy"
    )
    assert "without an attention decoder" in report("ctc", *lm)
    assert "--lm-weight -1.0: expected 0 or more" in report("hybrid", *lm, "--lm-weight", -1)
    assert "entry 4 is 'e', the student's is 'b'" in report("hybrid", "--lm", root / "lm_other")
    assert "entry 4 is 'e'" in report("transducer", "--lm", root / "lm_other")
    assert "nowhere/valid.loss.ave.pth: no such file" in report(
        "transducer", "--lm", root / "nowhere"
    )
    assert "lm: None; expected seq_rnn" in report("transducer", "--lm", root / "hybrid")
    assert "--timestamps: the joint CTC/attention search has none" in report(
        "hybrid", "--timestamps"
    )
    assert not list(tmp_path.iterdir())
