"""Kaldi's and ESPnet's data directories as their users have them."""

import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from distill_asr.cli import main
from distill_asr.data.datadir import DataDir, validate

RATE = 16000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)


def write_tables(folder: Path, wav: dict[str, object], **tables: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    keys = tables["segments"] if "segments" in tables else wav
    content = {
        "wav.scp": wav,
        "utt2spk": dict.fromkeys(keys, "s"),
        "text": dict.fromkeys(keys, "ab"),
        **tables,
    }
    for name, table in content.items():
        lines = "".join(f"{key} {value}\n" for key, value in table.items())
        (folder / name).write_text(lines, encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments), "--nj", "1"])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.wav"
    soundfile.write(path, TONE, RATE)
    return path


def test_recordings_are_cut_by_segments(tmp_path: Path, recording: Path) -> None:
    segments = {"s-a": "rec 0 0.5", "s-b": "rec 0.5 2.2", "s-c": "rec 1.5 -1"}
    data = write_tables(tmp_path / "d", {"rec": recording}, segments=segments)
    assert run(data, tmp_path / "o") == 0
    prepared, _ = validate(tmp_path / "o", RATE)
    assert prepared.num_samples == {"s-a": 8000, "s-b": 24000, "s-c": 8000}
    samples, _ = soundfile.read(prepared.wav["s-b"])
    np.testing.assert_allclose(samples, TONE[8000:], atol=1e-4)


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ("rec 0", "expected RECORDING START END"),
        ("rec 0 x", "expected RECORDING START END"),
        ("rec 1 0.5", "0 <= start < end"),
        ("rec nan 1", "0 <= start < end"),
        ("other 0 1", "recording other is not in wav.scp"),
        ("rec 0 2.6", "ends at 2.6 s, the recording at 2.000 s"),
        ("rec 2.1 2.4", "starts at 2.1 s, behind the recording"),
    ],
)
def test_segments_that_do_not_fit(
    tmp_path: Path, recording: Path, segment: str, expected: str, capsys: pytest.CaptureFixture
) -> None:
    data = write_tables(tmp_path / "d", {"rec": recording}, segments={"s-a": segment})
    assert run(data, tmp_path / "o") == 1
    error = capsys.readouterr().err
    assert expected in error and "s-a" in error and not (tmp_path / "o" / "wav.scp").exists()


@pytest.mark.parametrize(
    "how", [{}, {"write_function": "soundfile", "write_kwargs": {"format": "flac"}}]
)
def test_archives(tmp_path: Path, how: dict) -> None:
    """As Kaldi's wav-copy and ESPnet's format_wav_scp.sh --audio-format flac.ark write them."""
    ark, scp = tmp_path / "a.ark", tmp_path / "a.scp"
    integers = np.round(TONE * 32767).astype(np.int16)
    table = {"s-a": (RATE, integers), "s-b": (RATE, integers[:9000])}
    kaldiio.save_ark(str(ark), table, scp=str(scp), **how)
    wav = dict(line.split() for line in scp.read_text().splitlines())
    data = write_tables(tmp_path / "d", wav, utt2num_samples={"s-a": 32000, "s-b": 9000})
    assert run(data, tmp_path / "o") == 0
    prepared, _ = validate(tmp_path / "o", RATE)
    assert prepared.num_samples == {"s-a": 32000, "s-b": 9000}
    np.testing.assert_allclose(soundfile.read(prepared.wav["s-a"])[0], TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("place", "expected"),
    [("1", "at byte 1 of"), ("999999", "at byte 999999 of"), ("0", "at byte 0 of")],
)
def test_no_audio_at_that_place(
    tmp_path: Path, place: str, expected: str, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "a.ark").write_bytes(b"s-a \0B" + bytes(100))
    data = write_tables(tmp_path / "d", {"s-a": f"{tmp_path / 'a.ark'}:{place}"})
    assert run(data, tmp_path / "o") == 1
    assert expected in capsys.readouterr().err


def test_an_archive_that_is_gone_or_cut(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ark = tmp_path / "a.ark"
    data = write_tables(tmp_path / "d", {"s-a": f"{ark}:0"})
    assert run(data, tmp_path / "o") == 1
    assert f"{ark}: no such archive" in capsys.readouterr().err
    ark.write_bytes(b"AUDIO\4" + (1000).to_bytes(4, "little") + bytes(10))
    assert run(data, tmp_path / "o") == 1
    report = capsys.readouterr().err
    assert "1000 bytes declared, 10 are there" in report and "Traceback" not in report


def test_commands_are_refused_before_everything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    victim = tmp_path / "victim"
    data = write_tables(tmp_path / "d", {"s-a": f"touch {victim} |", "s-b": "gone.wav"})
    (data / "text").write_text("s-c ab\n")
    assert run(data, tmp_path / "o") == 1
    error = capsys.readouterr().err.splitlines()
    assert "--allow-pipes" in error[1] and "1 of 2" in error[1] and len(error) == 2
    assert not victim.exists()


def test_commands_that_are_allowed(tmp_path: Path, recording: Path) -> None:
    copy = f"'{sys.executable}' -c 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())'"
    data = write_tables(
        tmp_path / "d", {"s-a": f"cat {recording} |", "s-b": f'cat "{recording}" | {copy} |'}
    )
    assert run(data, tmp_path / "o", "--allow-pipes") == 0
    prepared, _ = validate(tmp_path / "o", RATE)
    assert prepared.num_samples == {"s-a": 32000, "s-b": 32000}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat gone.wav |", "exit code 1"),
        ("no-such-program |", "No such file"),
        ("true |", "wrote nothing"),
        ("cat a; touch victim |", "no shell runs the command"),
        ("cat $(touch victim) |", "no shell runs the command"),
        ("cat a > victim |", "no shell runs the command"),
        ("cat a | | cat |", "a command is missing"),
        ("cat 'a |", "No closing quotation"),
    ],
)
def test_commands_that_fail(
    tmp_path: Path, command: str, expected: str, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    data = write_tables(tmp_path / "d", {"s-a": command})
    assert run(data, tmp_path / "o", "--allow-pipes") == 1
    error = capsys.readouterr().err
    assert expected in error and "s-a" in error and not (tmp_path / "victim").exists()


def test_a_channel_of_stereo(tmp_path: Path) -> None:
    path = tmp_path / "st.wav"
    soundfile.write(path, np.stack([TONE, np.zeros_like(TONE)], 1), RATE)
    data = write_tables(tmp_path / "d", {"s-a": path})
    assert run(data, tmp_path / "none") == 1
    loudest = {}
    for channel in ("0", "1", "mix"):
        assert run(data, tmp_path / channel, "--channel", channel) == 0
        samples, _ = soundfile.read(DataDir.read(tmp_path / channel).wav["s-a"])
        loudest[channel] = np.abs(samples).max()
    assert loudest == pytest.approx({"0": 0.3, "1": 0, "mix": 0.15}, abs=1e-3)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_directory_of_an_espnet_recipe(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, TONE, RATE)
    data = write_tables(
        tmp_path / "dump" / "raw" / "train",
        {"s-a": path},
        spk2utt={"s": "s-a"},
        utt2num_samples={"s-a": 32000},
    )
    (data / "feats_type").write_text("raw\n")
    (data / "audio_format").write_text(f"{suffix}\n")
    assert run(data, tmp_path / "o") == 0
    assert DataDir.read(tmp_path / "o").wav == {"s-a": str(path)}
