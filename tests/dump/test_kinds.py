"""Teachers that read text or both, and that compute in bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.pretrained import precision
from distill_asr.targets import Manifest, TargetReader
from distill_asr.targets.verify import check_targets
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import save_text_model

SENTENCES = ["a b", "c d a b", "a b", "ab", "d", "c d a b", "a b", "ab cd ab cd ab"]
needs_bfloat16 = pytest.mark.skipif(
    not precision.has_bfloat16("cpu"), reason="this CPU has no bfloat16"
)


class Texts:
    """A prepared set with a transcript, and a tiny BERT."""

    def __init__(self, root: Path) -> None:
        self.data = root / "dump/train"
        ids = [f"u{i}" for i in range(len(SENTENCES))]
        write_data_dir(self.data, dict.fromkeys(ids, 800))
        self.text = dict(zip(ids, SENTENCES, strict=True))
        self.write(self.text)
        self.config = root / "bert.yaml"
        self.configure(kind="text", model=str(save_text_model(root / "bert")), layers=[2])
        self.targets = self.data / "targets/bert"

    def write(self, text: dict[str, str], file: str = "text") -> None:
        (self.data / file).write_text("".join(f"{u} {words}\n" for u, words in text.items()))

    def configure(self, **changes: object) -> None:
        before = yaml.safe_load(self.config.read_text()) if self.config.exists() else {}
        self.config.write_text(yaml.safe_dump(before | changes))

    def dump(self, *more: object) -> int:
        command = ["dump", "--teacher", self.config, "--shard-utts", 2, self.data, *more]
        return cli.main([str(word) for word in command])


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(tmp_path)


def test_sentences_are_computed_once_and_read_by_every_utterance(texts: Texts) -> None:
    assert texts.dump() == 0
    teacher = load_teacher(TeacherConfig.read(texts.config))
    targets = TargetReader(texts.targets)
    assert sorted(targets) == sorted(texts.text)
    for utterance, sentence in texts.text.items():
        np.testing.assert_allclose(targets[utterance], *teacher.states([sentence]), atol=2e-5)
    lines = dict(line.split() for line in (texts.targets / "targets.scp").read_text().splitlines())
    assert lines["u0"] == lines["u2"] == lines["u6"] and lines["u1"] == lines["u5"]
    assert len(set(lines.values())) == len(set(SENTENCES))
    assert check_targets(texts.targets, DataDir.read(texts.data), reread=True) == []


def test_statistics_count_every_utterance(texts: Texts) -> None:
    texts.dump()
    targets, manifest = TargetReader(texts.targets), Manifest.load(texts.targets)
    frames = np.concatenate([targets[utterance] for utterance in targets]).astype(np.float64)
    assert manifest.frames == len(frames)
    assert manifest.step_ms is None
    assert [shard.utterances for shard in manifest.shards] == [5, 2, 1]
    np.testing.assert_allclose(manifest.mean, frames.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(manifest.std, frames.std(axis=0), rtol=1e-10)


def test_two_workers_write_what_one_does(texts: Texts, tmp_path: Path) -> None:
    texts.dump("--name", "one")
    texts.dump("--name", "two", "--nj", 2)
    for path in (texts.data / "targets/one").glob("targets.*"):
        assert path.read_bytes() == (texts.data / f"targets/two/{path.name}").read_bytes()


def test_changed_sentences_make_targets_stale(texts: Texts, capsys) -> None:
    texts.dump()
    assert texts.dump() == 0  # skipped
    texts.write(texts.text | {"u3": "d d"})
    assert texts.dump() == 1
    assert f"stale: the sentences of {texts.data / 'text'} have changed" in capsys.readouterr().err
    problems = check_targets(texts.targets, DataDir.read(texts.data))
    assert len(problems) == 1 and "sentences" in problems[0]
    assert texts.dump("--overwrite") == 0
    assert check_targets(texts.targets, DataDir.read(texts.data)) == []


def test_a_transcript_of_another_name(texts: Texts) -> None:
    texts.write(texts.text | {"u3": "d d"}, "text.other")
    texts.configure(text="text.other")
    assert texts.dump() == 0
    assert Manifest.load(texts.targets).source.text == "text.other"
    assert check_targets(texts.targets, DataDir.read(texts.data)) == []


def test_sentences_of_a_wrong_size_are_all_named(texts: Texts, capsys) -> None:
    texts.write(texts.text | {"u1": "a " * 50, "u4": "b " * 60})
    for more in ((), ("--nj", 2)):
        assert texts.dump(*more) == 1
        report = capsys.readouterr().err
        assert "2 problems" in report and "takes at most 40" in report
        assert "utterance u1: " in report and "utterance u4: " in report
    assert not texts.targets.exists()


def test_batches_of_pieces(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_asr.teachers.text import TextTeacher

    seen = []
    real = TextTeacher.states

    def watched(self: TextTeacher, items: list[str]) -> list[np.ndarray]:
        seen.append((len(items), max(map(self.size, items))))
        return real(self, items)

    monkeypatch.setattr(TextTeacher, "states", watched)
    assert texts.dump("--batch-tokens", 8, "--shard-utts", 9) == 0
    assert sum(count for count, _ in seen) == len(set(SENTENCES))
    assert all(count == 1 or count * longest <= 8 for count, longest in seen)
    assert any(count > 1 for count, _ in seen)


# --- bfloat16 -------------------------------------------------------------------------------


@pytest.fixture
def low(tmp_path: Path) -> Path:
    """The file of a tiny HuBERT in bfloat16, and beside it the data dir `data`."""
    write_data_dir(tmp_path / "data", {"a": 9000, "b": 5000, "c": 4000})
    model = save_speech_model(tmp_path / "model")
    path = tmp_path / "low.yaml"
    path.write_text(f"kind: speech\nmodel: {model}\nlayers: [3]\ndtype: bfloat16\n")
    return path


@needs_bfloat16
def test_the_error_is_measured_and_said(low: Path, capsys) -> None:
    command = ["dump", "--teacher", str(low), str(low.parent / "data")]
    assert cli.main([*command, "--tolerance", "0.00001"]) == 1
    report = capsys.readouterr().err
    assert "dtype: bfloat16: states within" in report and "allowed: 1e-05" in report
    assert "write `dtype: float32`" in report and "--tolerance" in report
    assert cli.main(command) == 0
    assert "bfloat16: states within" in capsys.readouterr().out
    assert Manifest.load(low.parent / "data/targets/low").dtype == "bfloat16"
    assert cli.main(command) == 0  # finished: nothing to measure
    assert "states within" not in capsys.readouterr().out


@needs_bfloat16
def test_another_dtype_is_another_target(low: Path, capsys) -> None:
    command = ["dump", "--teacher", str(low), str(low.parent / "data")]
    cli.main(command)
    low.write_text(low.read_text().replace("bfloat16", "float32"))
    assert cli.main(command) == 1
    assert "dtype 'float32' instead of 'bfloat16'" in capsys.readouterr().err
