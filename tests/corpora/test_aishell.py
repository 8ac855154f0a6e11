"""AISHELL-1's own layout, on a little tree of it."""

from pathlib import Path

import pytest

from distill_asr.corpora import aishell
from distill_asr.data.datadir import DataDir, validate
from distill_asr.errors import UserError
from distill_asr.testing.corpora import write_aishell


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_aishell(tmp_path / "a corpus")


def transcripts(corpus: Path) -> Path:
    return corpus / "transcript" / aishell.TRANSCRIPTS


def texts_of(out: Path, corpus: Path) -> dict[str, dict[str, str]]:
    """Transcripts of each set that is built."""
    return {name: DataDir.read(out / name).text for name in aishell.build(out, corpus).sets}


def problems_of(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        aishell.build(*arguments)
    return "\n".join(caught.value.problems)


def test_every_set_is_valid(corpus: Path, tmp_path: Path) -> None:
    built = aishell.build(tmp_path / "data", corpus)
    assert list(built.sets) == ["train", "dev", "test"]
    for name, one in built.sets.items():
        read, _ = validate(tmp_path / "data" / name, sampling_rate=16000)
        assert len(read) == one.utterances == 4 and one.labelled and not one.left_out
        assert all(key[6:11] == speaker for key, speaker in read.utt2spk.items())
    read = DataDir.read(tmp_path / "data" / "dev")
    assert set(read.utt2spk.values()) == {"S0724", "S0725"} and built.sets["dev"].speakers == 2


def test_transcripts_lose_their_spaces(corpus: Path, tmp_path: Path) -> None:
    made = texts_of(tmp_path / "data", corpus)
    for line in transcripts(corpus).read_text(encoding="utf-8").splitlines():
        key, *words = line.split()
        texts = [text[key] for text in made.values() if key in text]
        assert texts == ["".join(words)] and len(words) > 1


def test_other_places_of_corpus_and_transcripts(corpus: Path, tmp_path: Path) -> None:
    one = texts_of(tmp_path / "one", corpus)
    transcripts(corpus).rename(corpus / aishell.TRANSCRIPTS)
    assert texts_of(tmp_path / "other", corpus.parent) == one


def test_a_few_recordings_may_lack_a_transcript(tmp_path: Path) -> None:
    corpus = write_aishell(tmp_path, utterances=51)
    lines = transcripts(corpus).read_text(encoding="utf-8").splitlines()
    transcripts(corpus).write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    sets = aishell.build(tmp_path / "data", corpus).sets
    assert [one.left_out for one in sets.values()] == ["1 without a transcript", "", ""]
    assert sets["train"].utterances == 101


def test_files_that_macos_puts_beside_others_are_none(corpus: Path, tmp_path: Path) -> None:
    made = aishell.build(tmp_path / "one", corpus).sets
    for path in [path for path in corpus.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert aishell.build(tmp_path / "other", corpus).sets == made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "AISHELL-1 is needed: get data_aishell.tgz"),
        ("", "AISHELL-1 is needed: get data_aishell.tgz"),
        ("nowhere", "nowhere is not a directory; expected AISHELL-1: get"),
        ("empty", "empty has neither wav/ nor data_aishell/wav/; expected AISHELL-1: get"),
    ],
)
def test_no_corpus(given: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = problems_of(tmp_path / "data", tmp_path / given if given else given)
    assert said in report
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
    assert "missing file" in report and len(report.splitlines()) == 1


def test_a_recording_in_two_sets(corpus: Path, tmp_path: Path) -> None:
    (corpus / "wav" / "dev" / "S0002").symlink_to(corpus / "wav" / "train" / "S0002")
    assert "duplicate id: BAC009S0002W0122" in problems_of(tmp_path / "data", corpus)
