"""``distill-asr pseudo-label --teacher``: labels by recognisers of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.data.record import LABEL_TABLE as TABLE
from distill_asr.data.record import LABELS as RECORD
from distill_asr.pretrained.recognisers import AttentionRecogniser
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.speech_recognisers import save_ctc, save_whisper

OUTPUTS = ("text", "confidence", TABLE)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """Data with true texts, two recognisers and their files; one utterance is over the window."""
    root = tmp_path_factory.mktemp("scene")
    make_prepared_dir(root / "data", utterances=6, seconds=(0.6, 3.4))
    for name, model in (
        ("w", save_whisper(root / "w", ends=True)),
        ("ctc", save_ctc(root / "ctc")),
    ):
        language = "language: ru\n" if name == "w" else ""
        content = f"kind: recogniser\nmodel: {model}\noutput: words\nbatch_seconds: 3\n{language}"
        (root / f"{name}.yaml").write_text(content)
    return root


def label(scene: Path, output: Path, *more: object, teacher: str = "w.yaml") -> int:
    words = ["pseudo-label", "--teacher", scene / teacher, "--data", scene / "data"]
    return cli.main([str(word) for word in [*words, "--output", output, *more]])


def files(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in OUTPUTS}


def test_a_prepared_dir_with_a_table_of_all(scene: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "labels"
    assert label(scene, output, "--keep-best", 0.5, "--max-rate", 1000) == 0
    said = capsys.readouterr().out
    rows = [line.split("\t") for line in (output / TABLE).read_text().splitlines()[1:]]
    source, new = DataDir.read(scene / "data"), DataDir.read(output)
    assert [row[0] for row in rows] == sorted(source.wav)
    assert sorted(new.text) == [row[0] for row in rows if row[1] == "yes"]
    assert new.text == {row[0]: row[-1] for row in rows if row[1] == "yes"}
    assert "CER of the labels: all " in said and "dropped (" in said
    record = json.loads((output / RECORD).read_text())["made_from"]
    assert (record["language"], record["task"], record["fastest"]) == ("ru", "transcribe", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]
    assert label(scene, output, "--keep-best", 0.5, "--max-rate", 1000) == 0
    assert capsys.readouterr().out == f"{output}: labelled already\n{said}"


def test_keys_of_the_file_are_changed(scene: Path, tmp_path: Path, capsys) -> None:
    files = ["--teacher", str(scene / "ctc.yaml")]
    assert label(scene, tmp_path / "a", *files, "--set", "language=en") == 1
    error = capsys.readouterr().err
    assert "w.yaml + " in error and "ctc.yaml" in error and "language" in error
    assert label(scene, tmp_path / "a", "--set", "language=en") == 0
    record = json.loads((tmp_path / "a" / RECORD).read_text())["made_from"]
    assert record["language"] == "en"
    words = ["pseudo-label", "--exp", "none", "--data", str(scene / "data"), "--output"]
    assert cli.main([*words, str(tmp_path / "b"), "--set", "language=en"]) == 1
    assert "--set: changes the file of --teacher" in capsys.readouterr().err


def test_labels_of_an_older_version_are_taken_as_they_are(scene: Path, tmp_path, capsys) -> None:
    """Their record has no checksums, and knows neither the config nor the later limits."""
    output = tmp_path / "labels"
    assert label(scene, output) == 0
    record = json.loads((output / RECORD).read_text())
    for key in ("files", "sha256"):
        del record[key]
    later = ("config", "max_compression", "max_repeats", "min_rate", "max_rate", "agree")
    record["made_from"] = {k: v for k, v in record["made_from"].items() if k not in later}
    (output / RECORD).write_text(json.dumps(record))
    before = files(output)
    capsys.readouterr()
    assert label(scene, output) == 0 and files(output) == before
    assert "labelled already" in capsys.readouterr().out
    assert label(scene, output, "--keep-best", 0.5) == 1
    assert "made with another keep_best; remove it" in capsys.readouterr().err


def test_a_killed_labelling_goes_on(scene: Path, tmp_path: Path, monkeypatch) -> None:
    recognise, parts, last = AttentionRecogniser.recognise, [], [99]

    def counted(self: AttentionRecogniser, waveforms: list) -> list:
        if len(parts) == last[0]:
            raise KeyboardInterrupt
        parts.append(len(waveforms))
        return recognise(self, waveforms)

    monkeypatch.setattr(AttentionRecogniser, "recognise", counted)
    whole, output = tmp_path / "whole", tmp_path / "labels"
    assert label(scene, whole) == 0
    total = sum(parts)
    parts.clear()
    last[0] = 2
    assert label(scene, output) == 130 and not output.exists()
    kept = tmp_path / ".labels.heard.jsonl"
    assert 0 < len(kept.read_text().splitlines()) - 1 < 6
    with open(kept, "a") as stream:
        stream.write('["half a li')
    parts.clear()
    last[0] = 99
    assert label(scene, output) == 0
    assert files(output) == files(whole)
    assert 0 < sum(parts) < total, "what was heard is not heard again"
    assert not kept.exists()


def test_words_are_written_the_students_way(scene: Path, tmp_path: Path) -> None:
    plain, loud = tmp_path / "plain", tmp_path / "tagged"
    assert label(scene, plain) == 0
    like = tmp_path / "like"
    words = ["prepare", scene / "data", like, "--normalise", "unicode"]
    words += ["--language", "ru", "--language-tag"]
    assert cli.main([str(word) for word in words]) == 0
    assert label(scene, loud, "--normalise-as", like) == 0
    tagged = DataDir.read(loud).text
    assert tagged == {utt: f"<ru> {words}" for utt, words in DataDir.read(plain).text.items()}


def test_another_recogniser_must_agree(scene: Path, tmp_path: Path, capsys) -> None:
    itself = tmp_path / "itself"
    assert label(scene, itself, "--agree", scene / "w.yaml", "--max-disagreement", 0) == 0
    plain = tmp_path / "plain"
    assert label(scene, plain) == 0
    assert DataDir.read(itself).text == DataDir.read(plain).text
    capsys.readouterr()
    other = ["--agree", scene / "ctc.yaml", "--max-disagreement", 0.01]
    assert label(scene, tmp_path / "other", *other) == 1
    assert "none of 6 utterances can be kept: disagreement 6" in capsys.readouterr().err


def test_mistakes(scene: Path, tmp_path: Path, capsys) -> None:
    def said(*more: object, teacher: str = "w.yaml") -> str:
        capsys.readouterr()
        assert label(scene, tmp_path / "out", *more, teacher=teacher) == 1
        assert not list(tmp_path.glob("out*"))
        return capsys.readouterr().err

    assert "--method, --beam-size apply to students of this package" in said(
        "--method", "beam", "--beam-size", 2
    )
    assert "each needs the other" in said("--max-disagreement", 0.1)
    assert "--max-repeats 0: expected a number above 0" in said("--max-repeats", 0)
    for name, content, expected in (
        ("speech", f"kind: speech\nmodel: {scene / 'w'}\nlayers: [1]\n", "expected `kind: recog"),
        ("codec", "kind: recogniser\nmodel: x\noutput: words\ncodec: {name: fp16}\n", "codec: not"),
        ("no", "kind: recogniser\nmodel: x\noutput: words\nlanguage: no\n", 'write "no"'),
        ("path", "kind: recogniser\nmodel: x\noutput: path\nlanguage: ru\n", "language: of a rec"),
    ):
        (scene / f"{name}.yaml").write_text(content)
        assert expected in said(teacher=f"{name}.yaml")


def test_words_are_no_targets(scene: Path, capsys) -> None:
    words = ["dump", scene / "data", "--teacher", scene / "w.yaml"]
    assert cli.main([str(word) for word in words]) == 1
    assert "pseudo-label --teacher" in capsys.readouterr().err
