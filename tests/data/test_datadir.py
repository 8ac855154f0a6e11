"""Every accident that happens to data directories, and that one report has them all."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.data.datadir import DataDir, validate
from distill_asr.errors import LINES_PER_KIND, UserError
from distill_asr.testing.data_dirs import write_labelled_dir

IDS = ["anna-1", "anna-2", "bert-1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_labelled_dir(tmp_path / "data set")


def report(folder: Path, sampling_rate: int | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        validate(folder, sampling_rate)
    return caught.value.problems


def one_problem(folder: Path, sampling_rate: int | None = None) -> str:
    problems = report(folder, sampling_rate)
    assert len(problems) == 1, problems
    return problems[0]


def audio_of(folder: Path, key: str) -> Path:
    return Path(DataDir.read(folder).wav[key])


def replace_in(path: Path, old: str, new: str) -> None:
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


def test_a_correct_directory(data: Path) -> None:
    found, facts = validate(data, sampling_rate=16000)
    assert list(found.wav) == IDS
    assert found.text["bert-1"] == "grüße an bert-1"
    assert found.utt2spk == {"anna-1": "anna", "anna-2": "anna", "bert-1": "bert"}
    assert found.num_samples is None
    assert [one.frames for one in facts.values()] == [4000] * 3


def test_unlabelled_audio(data: Path) -> None:
    (data / "text").unlink()
    assert validate(data)[0].text is None


def test_windows_line_ends_blank_lines_and_tabs(data: Path) -> None:
    content = (data / "text").read_text(encoding="utf-8").replace(" ", "\t", 1)
    (data / "text").write_bytes((content.replace("\n", "\r\n") + "\r\n").encode())
    assert validate(data)[0].text["anna-1"] == "grüße an anna-1"


def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _nan(path: Path) -> None:
    soundfile.write(path, np.array([0.0, np.nan, np.inf, 0.5]), 16000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda path: path.unlink(), "missing audio"),
        (lambda path: path.write_bytes(b""), "empty audio.*0 bytes"),
        (lambda path: soundfile.write(path, np.zeros(0), 16000), "empty audio.*no samples"),
        (lambda path: path.write_bytes(b"not audio"), r"unreadable audio.*\(9 bytes\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "unreadable audio"),
        (_truncate, "truncated audio.*8000 bytes of samples, 3978 are there"),
        (_nan, "NaN audio.*2 of 4 samples are NaN or infinite; make the file anew"),
        (
            lambda path: soundfile.write(path, np.zeros((9, 2)), 16000),
            "not mono.*2 channels.*--channel mix",
        ),
        (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
    ],
)
def test_bad_audio(data: Path, harm: Callable[[Path], object], expected: str) -> None:
    harm(audio_of(data, "anna-2"))
    problem = one_problem(data)
    assert "anna-2" in problem and str(data) in problem
    assert re.search(expected, problem), problem


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "aiff"])
def test_other_formats_and_their_truncation(data: Path, suffix: str) -> None:
    path = data / f"other.{suffix}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    old = str(audio_of(data, "anna-1"))
    replace_in(data / "wav.scp", old, str(path))
    assert validate(data)[1]["anna-1"].frames == 16000
    _truncate(path)
    assert "anna-1" in one_problem(data)


def test_a_wav_written_into_a_pipe_is_fine(data: Path) -> None:
    """Its header declares the largest possible size."""
    path = audio_of(data, "anna-1")
    content = bytearray(path.read_bytes())
    position = content.index(b"data") + 4
    content[position : position + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert validate(data)[1]["anna-1"].frames == 4000


def test_another_sampling_rate(data: Path) -> None:
    soundfile.write(audio_of(data, "anna-1"), np.zeros(100), 8000)
    validate(data)  # prepare resamples it
    assert "8000 Hz, expected 16000 Hz" in one_problem(data, sampling_rate=16000)


def test_audio_that_does_not_have_the_declared_length(data: Path) -> None:
    (data / "utt2num_samples").write_text("anna-1 4000\nanna-2 3999\nbert-1 4000\n")
    assert "declares 3999 samples, the file has 4000" in one_problem(data)
    (data / "utt2num_samples").write_text("anna-1 4000\nanna-2 4e3\nbert-1 4000\n")
    assert "expected a count, found '4e3'" in one_problem(data)


@pytest.mark.parametrize("name", ["wav.scp", "text", "utt2spk"])
def test_duplicate_ids(data: Path, name: str) -> None:
    path = data / name
    path.write_text(path.read_text(encoding="utf-8") + "anna-1 again\n", encoding="utf-8")
    problem = one_problem(data)
    assert f"{path}:4" in problem and "anna-1" in problem and "duplicate" in problem


@pytest.mark.parametrize("name", ["text", "utt2spk"])
def test_ids_in_one_file_only(data: Path, name: str) -> None:
    replace_in(data / name, "anna-2 ", "anna-3 ")
    problems = report(data)
    assert len(problems) == 2
    assert f"{data / name}: anna-3 is not in wav.scp" in problems[0]
    assert f"wav.scp: anna-2 is not in {name}" in problems[1]


def test_text_that_is_not_utf_8(data: Path) -> None:
    lines = (data / "text").read_bytes().split(b"\n")
    lines[1] = "anna-2 grüße".encode("latin-1")
    (data / "text").write_bytes(b"\n".join(lines))
    problem = one_problem(data)
    assert f"{data / 'text'}:2" in problem and "0xfc" in problem and "iconv" in problem


def test_byte_order_mark(data: Path) -> None:
    (data / "text").write_bytes(b"\xef\xbb\xbf" + (data / "text").read_bytes())
    assert f"byte order mark: {data / 'text'}:1" in one_problem(data)


def test_unusual_line_separators_do_not_end_a_line(data: Path) -> None:
    replace_in(data / "text", "an bert-1", "an\u2028bert\x85")
    assert "\u2028" in validate(data)[0].text["bert-1"]


def test_empty_transcript(data: Path) -> None:
    replace_in(data / "text", "anna-2 grüße an anna-2", "anna-2  ")
    assert "empty transcript" in one_problem(data)


@pytest.mark.parametrize("name", ["wav.scp", "text", "utt2spk"])
def test_empty_file(data: Path, name: str) -> None:
    (data / name).write_text("")
    assert f"{data / name}: no entries" in report(data)[0]


@pytest.mark.parametrize("name", ["wav.scp", "utt2spk"])
def test_missing_file(data: Path, name: str) -> None:
    (data / name).unlink()
    assert f"{data / name}: no such file" in one_problem(data)


def test_missing_directory(tmp_path: Path) -> None:
    assert "no such data directory" in one_problem(tmp_path / "none")


def test_a_pipe_is_refused_and_not_run(data: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    old = str(audio_of(data, "anna-1"))
    replace_in(data / "wav.scp", old, f"touch '{victim}' |")
    assert "commands are not run" in one_problem(data)
    assert not victim.exists()


def test_a_kaldi_archive_is_explained(data: Path) -> None:
    old = str(audio_of(data, "anna-1"))
    replace_in(data / "wav.scp", old, "raw.ark:17")
    assert "Kaldi archives" in one_problem(data)


def test_a_relative_path_says_where_it_was_looked_for(data: Path) -> None:
    replace_in(data / "wav.scp", str(audio_of(data, "anna-1")), "some/where.wav")
    assert f"looked from {Path.cwd()}" in one_problem(data)


def test_no_path_after_the_id(data: Path) -> None:
    replace_in(data / "wav.scp", str(audio_of(data, "anna-1")), "")
    assert "no path after the id" in one_problem(data)


def test_segments_are_refused(data: Path) -> None:
    (data / "segments").write_text("anna-1 long 0.0 1.0\n")
    assert "one audio file an utterance" in one_problem(data)


def test_an_id_with_a_slash(tmp_path: Path) -> None:
    data = write_labelled_dir(tmp_path / "data", ["anna-1"])
    for name in ("wav.scp", "text", "utt2spk"):
        replace_in(data / name, "anna-1 ", "anna/1 ")
    assert "must not have '/'" in one_problem(data)


def test_spk2utt_that_does_not_fit(data: Path) -> None:
    (data / "spk2utt").write_text("anna anna-1 anna-2\nbert bert-1\n")
    validate(data)
    (data / "spk2utt").write_text("anna anna-1\nbert bert-1 anna-2\n")
    assert "anna-2: speaker bert, in utt2spk anna" in one_problem(data)


def test_two_words_as_speaker(data: Path) -> None:
    replace_in(data / "utt2spk", "anna-2 anna", "anna-2 anna the second")
    assert "expected one speaker" in one_problem(data)


def test_everything_comes_in_one_report(data: Path) -> None:
    audio_of(data, "anna-1").unlink()
    _truncate(audio_of(data, "anna-2"))
    replace_in(data / "text", "bert-1 grüße an bert-1", "bert-1")
    (data / "segments").write_text("x")
    kinds = {problem.partition(":")[0] for problem in report(data)}
    assert kinds == {"missing audio", "truncated audio", "empty transcript", "segments"}


def test_a_long_list_is_cut_and_counted(tmp_path: Path) -> None:
    ids = [f"anna-{number:03d}" for number in range(LINES_PER_KIND + 30)]
    data = write_labelled_dir(tmp_path / "data", ids, frames=10)
    for key in ids:
        audio_of(data, key).unlink()
    problems = report(data)
    assert len(problems) == LINES_PER_KIND + 1
    assert problems[-1] == "missing audio: ... and 30 more"


def test_checking_with_processes_finds_the_same(tmp_path: Path) -> None:
    ids = [f"anna-{number:03d}" for number in range(60)]
    data = write_labelled_dir(tmp_path / "data", ids, frames=10)
    audio_of(data, "anna-059").unlink()
    with pytest.raises(UserError, match="anna-059"):
        validate(data, nj=2)


def test_write_and_read_again(data: Path, tmp_path: Path) -> None:
    (data / "utt2num_samples").write_text("anna-1 4000\nanna-2 4000\nbert-1 4000\n")
    found = DataDir.read(data)
    found.write(tmp_path / "copy")
    again, _ = validate(tmp_path / "copy")
    assert (again.wav, again.text, again.utt2spk, again.num_samples) == (
        found.wav,
        found.text,
        found.utt2spk,
        found.num_samples,
    )
    assert (tmp_path / "copy" / "spk2utt").read_text() == "anna anna-1 anna-2\nbert bert-1\n"


def test_writing_unlabelled_data_removes_an_old_text(data: Path, tmp_path: Path) -> None:
    DataDir.read(data).write(tmp_path / "copy")
    (data / "text").unlink()
    DataDir.read(data).write(tmp_path / "copy")
    assert not (tmp_path / "copy" / "text").exists()


def _hundred(labelled: bool = True) -> DataDir:
    keys = [f"u{number:03d}" for number in range(100)]
    return DataDir(
        Path("data/x"),
        dict.fromkeys(keys, "x.wav"),
        dict.fromkeys(keys, "hello") if labelled else None,
        dict.fromkeys(keys, "spk"),
        {key: 16000 * (1 + number % 3) for number, key in enumerate(keys)},
    )


def test_subset_by_count() -> None:
    data = _hundred()
    small, large = data.subset(10, seed=3), data.subset(40, seed=3)
    assert len(small) == 10 and list(small.wav) == sorted(small.wav)
    assert set(small.wav) < set(large.wav)
    assert list(small.text) == list(small.utt2spk) == list(small.num_samples) == list(small.wav)
    assert small == data.subset(10, seed=3) != data.subset(10, seed=4)
    assert _hundred(labelled=False).subset(5).text is None
    assert data.subset(100) == data


def test_subset_by_duration() -> None:
    part = _hundred().subset(seconds=50.0)
    total = sum(part.num_samples.values()) / 16000
    assert 50.0 <= total < 53.0


def test_subset_larger_than_the_set() -> None:
    with pytest.raises(UserError, match="asked for 101 utterances, but it has 100"):
        _hundred().subset(101)
    with pytest.raises(UserError, match=r"asked for 1000.0 s, but it has 199.0 s"):
        _hundred().subset(seconds=1000.0)
    with pytest.raises(ValueError, match="either"):
        _hundred().subset()
