"""AISHELL-1's own layout, on a little tree of it."""

from pathlib import Path

import pytest

from distill_asr.corpora import aishell
from distill_asr.data.datadir import validate
from distill_asr.errors import UserError
from distill_asr.testing.corpora import write_aishell


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_aishell(tmp_path / "a corpus")


def transcripts(corpus: Path) -> Path:
    return corpus / "transcript" / aishell.TRANSCRIPTS


def problems_of(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        aishell.build(*arguments)
    return "\n".join(caught.value.problems)


def test_every_set_is_valid(corpus: Path, tmp_path: Path) -> None:
    made, left_out = aishell.build(tmp_path / "data", corpus)
    assert left_out == {"train": 0, "dev": 0, "test": 0}
    for name, data in made.items():
        read, _ = validate(tmp_path / "data" / name, sampling_rate=16000)
        assert read.text == data.text and len(read) == 4
        assert all(key[6:11] == speaker for key, speaker in read.utt2spk.items())
    assert set(made["dev"].utt2spk.values()) == {"S0724", "S0725"}


def test_transcripts_lose_their_spaces(corpus: Path, tmp_path: Path) -> None:
    made, _ = aishell.build(tmp_path / "data", corpus)
    for line in transcripts(corpus).read_text(encoding="utf-8").splitlines():
        key, *words = line.split()
        texts = [data.text[key] for data in made.values() if key in data.text]
        assert texts == ["".join(words)] and len(words) > 1


def test_other_places_of_corpus_and_transcripts(corpus: Path, tmp_path: Path) -> None:
    one, _ = aishell.build(tmp_path / "one", corpus)
    transcripts(corpus).rename(corpus / aishell.TRANSCRIPTS)
    other, _ = aishell.build(tmp_path / "other", corpus.parent)
    assert [data.text for data in one.values()] == [data.text for data in other.values()]


def test_a_few_recordings_may_lack_a_transcript(tmp_path: Path) -> None:
    corpus = write_aishell(tmp_path, utterances=51)
    lines = transcripts(corpus).read_text(encoding="utf-8").splitlines()
    transcripts(corpus).write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    made, left_out = aishell.build(tmp_path / "data", corpus)
    assert left_out == {"train": 1, "dev": 0, "test": 0}
    assert len(made["train"]) == 101


@pytest.mark.parametrize("given", [None, "", "nowhere", "empty"])
def test_no_corpus(given: str | None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = problems_of(tmp_path / "data", tmp_path / given if given else given)
    assert "openslr.org/33" in report and "AISHELL=DIR" in report


def test_everything_wrong_comes_in_one_report(corpus: Path, tmp_path: Path) -> None:
    lines = transcripts(corpus).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("BAC009S0002W0122")
    changed = [*lines[1:], lines[3], "BAC009S9999W0001 多 余", "BAC009S0724W0200"]
    transcripts(corpus).write_text("\n".join(changed) + "\n", encoding="utf-8")
    for path in (corpus / "wav" / "test").glob("*/*.wav"):
        path.unlink()
    (corpus / "wav" / "S0764.tar.gz").write_bytes(b"packed")
    report = problems_of(tmp_path / "data", corpus)
    for expected in (
        "1 of 4 recordings have none, such as BAC009S0002W0122",
        f"{transcripts(corpus)}:12: BAC009S0003W0123 occurs before",
        "missing audio: BAC009S9999W0001",
        f"empty transcript: {transcripts(corpus)}:14: BAC009S0724W0200",
        f"missing part: {corpus / 'wav' / 'test'}: no <speaker>/*.wav; 1 archives",
        "missing audio: BAC009S0764W0122",
    ):
        assert expected in report
    assert not (tmp_path / "data").exists()


def test_no_transcripts_at_all(corpus: Path, tmp_path: Path) -> None:
    transcripts(corpus).unlink()
    report = problems_of(tmp_path / "data", corpus)
    assert "unreadable transcripts" in report and len(report.splitlines()) == 1


def test_a_recording_in_two_sets(corpus: Path, tmp_path: Path) -> None:
    (corpus / "wav" / "dev" / "S0002").symlink_to(corpus / "wav" / "train" / "S0002")
    assert "duplicate id: BAC009S0002W0122" in problems_of(tmp_path / "data", corpus)
