"""The verb `prepare`, from its command line."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.cli import main
from distill_asr.data import prepare
from distill_asr.data.datadir import DataDir, validate
from distill_asr.data.prepare import PrepareOptions
from distill_asr.data.sources import AudioLocation
from distill_asr.testing.data_dirs import write_labelled_dir


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def audio_of(folder: Path, key: str) -> Path:
    return Path(DataDir.read(folder).wav[key])


def replace_in(path: Path, old: str, new: str) -> None:
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """anna-1 is fine, anna-2 has 8 kHz, bert-1 is Ogg with 44.1 kHz."""
    folder = write_labelled_dir(tmp_path / "my data")
    time = np.arange(8000) / 8000
    soundfile.write(audio_of(folder, "anna-2"), 0.5 * np.sin(2 * np.pi * 440 * time), 8000)
    ogg = folder / "bert.ogg"
    soundfile.write(ogg, 0.1 * np.random.default_rng(0).standard_normal(44100), 44100)
    replace_in(folder / "wav.scp", str(audio_of(folder, "bert-1")), str(ogg))
    return folder


def run(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments)])


def test_audio_has_one_rate_afterwards(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "dump") == 0
    prepared, facts = validate(tmp_path / "dump", sampling_rate=16000)
    source = DataDir.read(data)
    assert prepared.wav["anna-1"] == source.wav["anna-1"]  # nothing copied without need
    assert {key: one.frames for key, one in facts.items()} == {
        "anna-1": 4000,
        "anna-2": 16000,
        "bert-1": 16000,
    }
    assert prepared.num_samples == {key: one.frames for key, one in facts.items()}
    assert prepared.text == source.text and prepared.utt2spk == source.utt2spk
    samples, _ = soundfile.read(prepared.wav["anna-2"])
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=2e-3)
    assert (tmp_path / "dump" / "spk2utt").read_text() == "anna anna-1 anna-2\nbert bert-1\n"


def test_another_rate_can_be_asked_for(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "dump", "--fs", 8000) == 0
    validate(tmp_path / "dump", sampling_rate=8000)


def test_utterances_are_filtered_by_duration(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(data, tmp_path / "dump", "--min-duration", 0.3, "--max-duration", 1.0) == 0
    assert list(DataDir.read(tmp_path / "dump").wav) == ["anna-2", "bert-1"]
    assert (tmp_path / "dump" / "filtered").read_text() == "anna-1 0.250 under 0.3 s\n"
    assert "1 filtered out" in capsys.readouterr().out


def test_limits_that_leave_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(data, tmp_path / "dump", "--min-duration", 5) == 1
    assert "all 3 utterances" in capsys.readouterr().err
    assert not (tmp_path / "dump" / "wav.scp").exists()


def test_problems_come_in_one_report_and_nothing_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    audio_of(data, "anna-1").unlink()
    replace_in(data / "text", "bert-1 grüße an bert-1", "bert-1")
    assert run(data, tmp_path / "dump") == 1
    error = capsys.readouterr().err
    assert "missing audio" in error and "empty transcript" in error and "Traceback" not in error
    assert not (tmp_path / "dump" / "wav.scp").exists()


def test_a_second_run_does_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "dump"
    first = prepare.prepare(data, dump)
    monkeypatch.setattr(prepare, "parallel_map", None)  # would fail if it were called
    assert prepare.prepare(data, dump) == first


def test_a_change_in_the_source_is_noticed(data: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    prepare.prepare(data, dump)
    soundfile.write(audio_of(data, "anna-2"), np.zeros(4000), 8000)
    replace_in(data / "text", "an bert-1", "an alle")
    prepare.prepare(data, dump)
    assert DataDir.read(dump).num_samples["anna-2"] == 8000
    assert DataDir.read(dump).text["bert-1"] == "grüße an alle"


def test_an_interrupted_run_continues(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump, whole = tmp_path / "dump", tmp_path / "whole"
    prepare.prepare(data, whole)
    real = prepare.read_source

    def interrupted(source: AudioLocation, channel: None) -> tuple:
        if source.location.endswith(".ogg"):
            raise KeyboardInterrupt
        return real(source, channel)

    monkeypatch.setattr(prepare, "read_source", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(data, dump)
    assert {*_digests(dump)} - {".identity"} == {"wav/.converted", "wav/anna-2.wav"}

    def only_the_rest(source: AudioLocation, channel: None) -> tuple:
        assert "anna-2" not in source.location
        return real(source, channel)

    monkeypatch.setattr(prepare, "read_source", only_the_rest)
    prepare.prepare(data, dump)
    found, expected = _digests(dump), _digests(whole)
    for content in (found, expected):
        for name in ("wav.scp", "prepare.json"):  # name the other folder
            content.pop(name)
        content.pop(".identity", None)  # may remember less of files that were just written
    assert found == expected


def test_a_crash_while_writing_audio_leaves_no_half_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"RIFF half")
        raise OSError("No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(OSError, match="No space"):
        prepare.prepare(data, tmp_path / "dump")
    assert not [path for path in (tmp_path / "dump").rglob("*") if path.is_file()]


def test_processes_give_the_same(tmp_path: Path) -> None:
    ids = [f"anna-{number:03d}" for number in range(60)]
    folder = write_labelled_dir(tmp_path / "data", ids, rate=8000)
    first = prepare.prepare(folder, tmp_path / "one", PrepareOptions(nj=1))
    second = prepare.prepare(folder, tmp_path / "two", PrepareOptions(nj=2))
    assert first.pop("files").keys() == second.pop("files").keys()
    assert first == second and first["converted"] == 60
    assert _digests(tmp_path / "one" / "wav") == _digests(tmp_path / "two" / "wav")


def test_clipping_is_counted(tmp_path: Path) -> None:
    folder = write_labelled_dir(tmp_path / "data", ["anna-1"])
    square = np.sign(np.sin(2 * np.pi * 100 * np.arange(8000) / 8000 + 0.1))
    soundfile.write(audio_of(folder, "anna-1"), square, 8000)
    record = prepare.prepare(folder, tmp_path / "dump")
    assert record["clipped"] == 1
    samples, _ = soundfile.read(DataDir.read(tmp_path / "dump").wav["anna-1"])
    assert np.abs(samples).max() <= 1.0 and samples[20] > 0.8  # no wrap-around


def test_the_record_says_what_was_done(data: Path, tmp_path: Path) -> None:
    prepare.prepare(data, tmp_path / "dump")
    record = json.loads((tmp_path / "dump" / "prepare.json").read_text())
    assert (record["utterances"], record["converted"], record["filtered"]) == (3, 2, 0)
    assert record["hours"] == pytest.approx(2.25 / 3600, abs=1e-6)


def test_wrong_arguments_are_reported_together(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ("--fs", 0, "--min-duration", 3, "--max-duration", 2, "--tokens", "char")
    assert run(data, data, *arguments, "--text", tmp_path / "none") == 1
    error = capsys.readouterr().err
    for expected in ("SRC and DST", "--fs 0", "0 <= min <= max", "--token-list", "no such file"):
        assert expected in error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["char", "word"])  # word pieces have tests of their own
def test_token_list_is_espnets(kind: str, data: Path, tmp_path: Path) -> None:
    from espnet2.bin.tokenize_text import tokenize

    (data / "text").write_text("anna-1 böse  ab ba c\nanna-2 b\tcc a\nbert-1 ab z\n")
    ours = tmp_path / "lists" / "tokens.txt"
    assert run(data, tmp_path / "dump", "--tokens", kind, "--token-list", ours) == 0
    tokenize(
        input=str(data / "text"),
        output=str(tmp_path / "theirs.txt"),
        field="2-",
        delimiter=None,
        token_type=kind,
        space_symbol="<space>",
        non_linguistic_symbols=None,
        bpemodel=None,
        log_level="WARNING",
        write_vocabulary=True,
        vocabulary_size=0,
        remove_non_linguistic_symbols=False,
        cutoff=0,
        add_symbol=["<blank>:0", "<unk>:1", "<sos/eos>:-1"],
        cleaner=None,
        g2p=None,
        add_nonsplit_symbol=[],
    )
    assert ours.read_text() == (tmp_path / "theirs.txt").read_text()
    assert ours.read_text().split("\n")[:2] == ["<blank>", "<unk>"]


def test_token_list_of_given_files_for_an_unlabelled_set(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    text = tmp_path / "other"
    text.write_text("x-1 ja\nx-2 na\n")
    (data / "text").unlink()
    ours = tmp_path / "tokens.txt"
    arguments = (data, tmp_path / "dump", "--tokens", "char", "--token-list", ours)
    assert run(*arguments) == 1
    assert "unlabelled" in capsys.readouterr().err
    assert run(*arguments, "--text", text) == 0
    assert ours.read_text().split() == ["<blank>", "<unk>", "a", "j", "n", "<sos/eos>"]
