"""``distill-asr decode`` with a language model and with timestamps, on untrained students."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.io.locks import locked
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


def test_language_model_of_a_ctc_student_has_its_say(root, tmp_path) -> None:
    """Search over prefixes instead of the best path: the more weight, the more of what it likes."""
    counts = []
    for weight in (0, 1, 3):
        lm = ["--lm", root / "lm_c", "--lm-weight", weight, "--nbest", 2]
        assert decode(root, "ctc", tmp_path / str(weight), *lm) == 0
        found = rows(tmp_path / str(weight))
        assert all(len(row["nbest"]) == 2 for row in found)
        counts.append(sum(row["nbest"][0]["text"].count("c") for row in found))
    assert counts == sorted(counts) and counts[0] < counts[2]
    assert json.loads((tmp_path / "3" / "decode.json").read_text())["lm"]["weight"] == 3


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
    assert "--timestamps is not supported by ESPnet's search" in report("ctc", *lm, "--timestamps")
    assert "--lm-weight -1.0: expected 0 or more" in report("hybrid", *lm, "--lm-weight", -1)
    assert "entry 4 is 'e', the student's is 'b'" in report("hybrid", "--lm", root / "lm_other")
    assert "entry 4 is 'e'" in report("transducer", "--lm", root / "lm_other")
    assert "nowhere/valid.loss.ave.pth: no such file" in report(
        "transducer", "--lm", root / "nowhere"
    )
    assert "lm: None; expected seq_rnn" in report("transducer", "--lm", root / "hybrid")
    assert "--timestamps is not supported by ESPnet's search" in report("hybrid", "--timestamps")
    assert not list(tmp_path.iterdir())


def test_audio_replaced_in_place_is_decoded_again(root, tmp_path, capsys) -> None:
    """Same names, lengths and times of the files; what was made from the old one is done again."""
    data, output = tmp_path / "set", tmp_path / "out"
    make_prepared_dir(data, utterances=2)

    def run() -> tuple[bool, bytes]:
        words = ["decode", "--exp", root / "ctc", "--data", data, "--output", output]
        assert cli.main([str(word) for word in words]) == 0
        said = capsys.readouterr().out
        return "decoded already" not in said, (output / "nbest.jsonl").read_bytes()

    first = run()
    assert run() == (False, first[1])
    for path in (data / "wav").glob("*.wav"):
        samples, rate = soundfile.read(path, dtype="int16")
        before = path.stat()
        soundfile.write(path, samples[::-1], rate)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = run()
    assert again[0] and again[1] != first[1]


@pytest.mark.parametrize("name", ["decode.json", "text", "nbest.jsonl"])
@pytest.mark.parametrize("keep", [0, 5])
def test_a_damaged_output_is_made_again(root, tmp_path, capsys, name: str, keep: int) -> None:
    assert decode(root, "ctc", tmp_path) == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / name).write_bytes(whole[name][:keep])
    assert decode(root, "ctc", tmp_path) == 0
    assert "decoded already" not in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_another_config_is_another_decoding(root, tmp_path, capsys) -> None:
    """The words come from the token list in it."""
    shutil.copytree(root / "ctc", tmp_path / "ctc")
    shutil.copytree(root / "set", tmp_path / "set")
    assert decode(tmp_path, "ctc", tmp_path / "out") == 0
    config = tmp_path / "ctc/config.yaml"
    config.write_text(config.read_text().replace("- a\n", "- ü\n"), encoding="utf-8")
    assert decode(tmp_path, "ctc", tmp_path / "out") == 0
    assert "decoded already" not in capsys.readouterr().out


def test_a_token_list_in_another_form_is_refused(root, tmp_path, capsys) -> None:
    shutil.copytree(root / "ctc", tmp_path / "ctc")
    config = tmp_path / "ctc/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("- <sos/eos>\n", "- z\n").replace("- a\n", "- <sos/eos>\n"))
    shutil.copytree(root / "set", tmp_path / "set")
    assert decode(tmp_path, "ctc", tmp_path / "out") == 1
    assert "token_list:4: <sos/eos> must be in line 8" in capsys.readouterr().err
    assert not (tmp_path / "out/text").exists()


def test_everything_that_is_missing_in_one_report(tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    words = ["decode", "--exp", tmp_path / "nowhere", "--data", tmp_path / "nothing"]
    words += ["--output", tmp_path / "file", "--beam-size", 0]
    assert cli.main([str(word) for word in words]) == 1
    found = capsys.readouterr().err
    assert "5 problems" in found
    assert "file: is a file" in found and "--beam-size 0" in found
    for name in ("nowhere/config.yaml", "nowhere/valid.loss.ave.pth"):
        assert f"{name}: no such file" in found
    assert "nothing: no such data directory" in found


@pytest.mark.parametrize("link", [False, True])
def test_words_replace_no_transcripts(root, tmp_path, capsys, link: bool) -> None:
    data = shutil.copytree(root / "set", tmp_path / "set")
    before = (data / "text").read_bytes()
    output = data
    if link:
        output = tmp_path / "out"
        output.symlink_to(data, target_is_directory=True)
    words = ["decode", "--exp", root / "ctc", "--data", data, "--output", output]
    assert cli.main([str(word) for word in words]) == 1
    said = f"--output {output}: holds a data directory (wav.scp); give another directory"
    assert said in capsys.readouterr().err
    assert (data / "text").read_bytes() == before and not (data / "nbest.jsonl").exists()


def test_two_commands_for_one_output(root, tmp_path, capsys) -> None:
    with locked(tmp_path / "out", "decoding"):
        assert decode(root, "ctc", tmp_path / "out") == 1
    assert "already writing there" in capsys.readouterr().err
    assert decode(root, "ctc", tmp_path / "out") == 0
