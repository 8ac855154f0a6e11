"""Audio is read to its end, whatever its header or a library's guess says."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.io.audio import BadAudioError, audio_seconds, read_audio
from distill_asr.io.mpeg import scan_mpeg, with_true_length

RATE = 16000
RNG = np.random.default_rng(0)
NOISE = 0.1 * RNG.standard_normal(RATE)


def problem(path: Path, **options: object) -> str:
    with pytest.raises(BadAudioError) as caught:
        read_audio(path, **options)
    return f"{caught.value.kind}: {caught.value.detail}"


def variable_mp3(path: Path, loud_first: bool) -> Path:
    """15 s of variable bit rate, half of it loud, with its Xing frame."""
    loud = 0.3 * np.random.default_rng(1).standard_normal(5 * RATE)
    quiet = 0.05 * np.sin(2 * np.pi * 300 * np.arange(10 * RATE) / RATE)
    parts = [loud, quiet] if loud_first else [quiet, loud]
    soundfile.write(
        path, np.concatenate(parts), RATE, format="MP3",
        bitrate_mode="VARIABLE", compression_level=0.2,
    )  # fmt: skip
    return path


def without_first_frame(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[scan_mpeg(content).first.end :])
    return path


@pytest.mark.parametrize("loud_first", [True, False])
def test_variable_mp3_without_a_length_is_decoded_to_its_end(
    tmp_path: Path, loud_first: bool
) -> None:
    whole, _ = read_audio(variable_mp3(tmp_path / "a.mp3", loud_first))
    path = without_first_frame(tmp_path / "a.mp3")
    assert not 14 < soundfile.info(path).duration < 16, "what libsndfile guesses"
    samples, facts = read_audio(path)
    assert len(samples) == facts.frames == pytest.approx(15 * RATE, abs=3 * 576)
    assert audio_seconds(path) == pytest.approx(15, abs=0.2)
    delay = 576  # without its Xing frame, a decoder does not know of the encoder's delay
    np.testing.assert_allclose(
        samples[delay + 5000 : 230000], whole[5000 : 230000 - delay], atol=2e-3
    )


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_frames_are_counted_at_every_rate(
    tmp_path: Path, rate: int, channels: int, mode: str
) -> None:
    path = tmp_path / "a.mp3"
    noise = 0.1 * np.random.default_rng(2).standard_normal((3 * rate, channels))
    soundfile.write(path, noise, rate, format="MP3", bitrate_mode=mode)
    assert len(read_audio(path, "mix")[0]) == 3 * rate
    without_first_frame(path)
    content = b"ID3\4\0\0\0\0\1\0" + bytes(128) + path.read_bytes() + b"TAG" + bytes(125)
    path.write_bytes(content)
    assert len(read_audio(path, 0)[0]) == pytest.approx(3 * rate, abs=3 * 1152)
    again = scan_mpeg(with_true_length(content, scan_mpeg(content)))
    assert again.declared == again.samples == scan_mpeg(content).samples


def test_an_mp3_that_was_cut(tmp_path: Path) -> None:
    path = variable_mp3(tmp_path / "a.mp3", True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated audio: the header declares 241344 samples" in problem(path)
    with pytest.raises(BadAudioError, match="truncated"):
        audio_seconds(path)


@pytest.mark.parametrize("declared", [0, 4000])
def test_flac_whose_header_knows_no_length_or_too_little(tmp_path: Path, declared: int) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE, RATE, subtype="PCM_16")
    expected, _ = read_audio(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:42] = declared.to_bytes(4, "big") + bytes(16)
    path.write_bytes(content)
    samples, facts = read_audio(path)
    np.testing.assert_array_equal(samples, expected)
    assert facts.frames == RATE and audio_seconds(path) == 1.0


def wav(path: Path, declared: int, after: bytes = b"") -> Path:
    soundfile.write(path, NOISE, RATE)
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    content[40:44] = struct.pack("<I", declared)
    path.write_bytes(content + after)
    return path


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36, 0x7FFFF000 - 36])
def test_a_wav_whose_writer_could_not_go_back(tmp_path: Path, declared: int) -> None:
    samples, facts = read_audio(wav(tmp_path / "a.wav", declared))
    assert facts.frames == len(samples) == RATE
    np.testing.assert_allclose(samples, NOISE, atol=1e-4)


def test_a_wav_that_declares_too_little_is_not_cut(tmp_path: Path) -> None:
    found = problem(wav(tmp_path / "a.wav", 12000))
    assert "declares 12000 bytes of samples, 32000 lie behind it" in found


def test_chunks_and_tags_behind_the_samples_are_none(tmp_path: Path) -> None:
    chunk = b"LIST" + struct.pack("<I", 6) + b"INFOab"
    for after in (chunk, chunk * 2, b"TAG" + bytes(125), b"\0"):
        assert read_audio(wav(tmp_path / "a.wav", 32000, after))[1].frames == RATE
    assert "no samples" in problem(_empty_with_chunk(tmp_path / "b.wav", chunk))


def _empty_with_chunk(path: Path, chunk: bytes) -> Path:
    soundfile.write(path, NOISE[:0], RATE)
    path.write_bytes(path.read_bytes() + chunk)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\n\n<HTML><head>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (
            b"\0\0\0 ftypM4A \0\0\0\0M4A mp42isom" + bytes(500),
            "AAC or other audio in MP4; convert it with `ffmpeg",
        ),
        (b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(500), "AAC; convert"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(40), "AppleDouble"),
        (b"OggS" + bytes(500), "convert it with"),
    ],
)
def test_what_is_no_audio_says_what_it_looks_like(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(BadAudioError, match=rf"(?s){expected}.*\({len(content)} bytes\)"):
        read_audio(path)


@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg"])
def test_an_apple_double_file_beside_audio_is_no_matter(tmp_path: Path, suffix: str) -> None:
    header = bytes.fromhex("0005160700020000") + b"Mac OS X        " + struct.pack(">H", 2)
    header += struct.pack(">IIIIII", 9, 50, 3760, 2, 3810, 286)
    fork = struct.pack(">IIII", 256, 256, 0, 30) + bytes(240)
    soundfile.write(tmp_path / f"x.{suffix}", NOISE, RATE)
    (tmp_path / f"._x.{suffix}").write_bytes(header.ljust(3810, b"\0") + fork * 2)
    assert len(read_audio(tmp_path / f"x.{suffix}")[0]) == RATE


def test_a_channel_is_chosen_or_mixed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    both = np.stack([NOISE, -0.5 * NOISE], 1)
    soundfile.write(path, both, RATE, subtype="FLOAT")
    assert "--channel 0" in problem(path)
    assert "the file has 2 channel(s)" in problem(path, channel=2)
    for channel, expected in ((0, both[:, 0]), (1, both[:, 1]), ("mix", both.mean(1))):
        np.testing.assert_allclose(read_audio(path, channel)[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["a\0b.wav", "x" * 300 + ".wav"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    assert problem(tmp_path / name).startswith("unreadable audio")
