"""A prepared directory that was changed afterwards is noticed by whoever reads it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.cli import main
from distill_asr.data.conversions import JOURNAL
from distill_asr.data.datadir import DataDir
from distill_asr.data.record import (
    CONFIDENCE,
    LABELS,
    RECORD,
    altered_tables,
    prepared_audio_identity,
    read_filtered,
    vouched_files,
)
from distill_asr.errors import UserError
from distill_asr.io.records import read_record, write_record
from distill_asr.testing.data_dirs import write_labelled_dir


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Every other utterance has another rate, so it is converted."""
    folder = write_labelled_dir(tmp_path / "data", [f"anna-{n}" for n in range(4)])
    for path in sorted((folder / "wav").glob("*.wav"))[::2] or sorted(folder.rglob("*.wav"))[::2]:
        samples, _ = soundfile.read(path)
        soundfile.write(path, samples, 8000)
    return folder


@pytest.fixture
def dump(source: Path, tmp_path: Path) -> Path:
    assert prepare(source, tmp_path / "dump") == 0
    return tmp_path / "dump"


def prepare(source: Path, target: Path) -> int:
    tokens = ["--tokens", "char", "--token-list", str(target.parent / "tokens.txt")]
    return main(["prepare", str(source), str(target), "--nj", "1", *tokens])


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".identity"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def spell(path: Path) -> None:
    """Another letter, so that the table is still one."""
    content = path.read_text()
    path.write_text(content[:-2] + ("x" if content[-2] != "x" else "y") + "\n")


TABLES = ["text", "utt2spk", "spk2utt", "utt2num_samples", "wav.scp", "filtered", f"wav/{JOURNAL}"]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_changed_table_is_named_and_made_again(
    source: Path, dump: Path, name: str, how: str, capsys: pytest.CaptureFixture
) -> None:
    whole, path = contents(dump), dump / name
    if how == "gone":
        path.unlink()
    elif how == "cut" or not path.stat().st_size:
        path.write_bytes(path.read_bytes()[:-3] or b"x")
    else:
        flip(path)
    with pytest.raises(UserError) as error:
        DataDir.read(dump)
    assert str(path) in str(error.value) and "distill-asr prepare" in str(error.value)
    assert "changed file" in str(error.value)
    capsys.readouterr()
    assert prepare(source, dump) == 0
    assert contents(dump) == whole
    assert len(DataDir.read(dump)) == 4


def test_tokens_are_never_made_of_a_cut_text(source: Path, dump: Path) -> None:
    tokens = (dump.parent / "tokens.txt").read_bytes()
    lines = (dump / "text").read_text().splitlines(keepends=True)
    (dump / "text").write_text("".join(lines[:1]))
    assert prepare(source, dump) == 0
    assert (dump.parent / "tokens.txt").read_bytes() == tokens


def test_converted_audio_that_was_changed(source: Path, dump: Path) -> None:
    whole, data = contents(dump), DataDir.read(dump)
    converted = sorted((dump / "wav").glob("*.wav"))
    assert 0 < len(converted) < len(data)
    before = prepared_audio_identity(data.wav, None)
    flip(converted[0])
    with pytest.raises(UserError) as error:
        prepared_audio_identity(data.wav, None)
    assert converted[0].stem in str(error.value) and "1 utterance(s)" in str(error.value)
    assert "run the same `distill-asr prepare` again" in str(error.value)
    assert prepare(source, dump) == 0
    assert contents(dump) == whole
    assert prepared_audio_identity(data.wav, None) == before


def test_audio_of_a_subset_elsewhere_is_held_against_its_journal(
    dump: Path, tmp_path: Path
) -> None:
    """As that of pseudo-labels, whose directory names the audio of another."""
    DataDir.read(dump).select(["anna-0", "anna-2"]).write(tmp_path / "part")
    part = DataDir.read(tmp_path / "part")
    flip(sorted((dump / "wav").glob("*.wav"))[0])
    with pytest.raises(UserError, match="changed or damaged since it was written"):
        prepared_audio_identity(part.wav, None)


def test_preparing_a_prepared_directory_that_was_changed(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flip(dump / "text")
    assert prepare(dump, tmp_path / "again") == 1
    assert f"{dump / 'text'}: changed or damaged" in capsys.readouterr().err
    assert not (tmp_path / "again" / "wav.scp").exists()


def test_a_record_of_an_old_version_vouches_for_nothing(dump: Path) -> None:
    record = read_record(dump / RECORD)
    record.pop("files")
    write_record(dump / RECORD, record)
    spell(dump / "text")
    assert len(DataDir.read(dump)) == 4


def test_a_change_that_is_wanted(dump: Path) -> None:
    """The message says where; a directory without the record is its owner's."""
    (dump / RECORD).unlink()
    spell(dump / "text")
    assert len(DataDir.read(dump)) == 4


def test_pseudo_labels_are_vouched_for(dump: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    DataDir.read(dump).write(labels)
    (labels / CONFIDENCE).write_text("anna-0 -1.0\n")
    write_record(labels / LABELS, {"files": vouched_files(labels)})
    assert altered_tables(labels) == []
    flip(labels / CONFIDENCE)
    (problem,) = altered_tables(labels)
    assert problem.endswith("run the same `distill-asr pseudo-label` again")


def test_what_was_filtered(source: Path, tmp_path: Path) -> None:
    path = sorted(source.rglob("*.wav"))[1]
    soundfile.write(path, np.zeros(80), 16000)
    assert main(["prepare", str(source), str(tmp_path / "out"), "--nj", "1"]) == 0
    assert read_filtered(tmp_path / "out") == ["anna-1"]
    assert read_filtered(tmp_path / "nowhere") == []
