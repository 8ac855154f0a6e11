"""Reads one audio file to its end, and reports exactly what is wrong with it.

No length that a header declares, or that a library guesses, is trusted: what can be decoded is
decoded and counted, and a header that promises more, or hides a part, is an error.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from distill_asr.io.mpeg import scan_mpeg, with_true_length

MIX = "mix"
CONVERT = "convert it with `ffmpeg -i IN -ac 1 OUT.wav`"
SAMPLE_RATE = 16000  # Hz, of all audio that teachers and students read
# libsndfile shortens a cut-off file silently, but its log keeps what the header had declared.
_DECLARED = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
ARCHIVED = re.compile(r"(.+\.ark):(\d+)")  # archive and place in it, as Kaldi writes it
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write into a pipe declare this much or more
_MP3_SLACK = 3 * 1152  # samples; decoders disagree about the first and last frames
_BLOCK = 1 << 20  # samples
_KINDS = {  # the first bytes of files that are not audio, or cannot be read
    b"<!doctype html": "a web page, perhaps an error message; download the audio again",
    b"<html": "a web page, perhaps an error message; download the audio again",
    b"<?xml": "an XML file, perhaps an error message; download the audio again",
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull` to get the audio itself",
    b"\0\5\x16\7": "a macOS AppleDouble file, which holds no audio; remove it",
    b"\x30\x26\xb2\x75": f"WMA (ASF); {CONVERT}",
    b"\x1a\x45\xdf\xa3": f"Matroska or WebM; {CONVERT}",
    b"#!amr": f"AMR; {CONVERT}",
    b"#!silk": f"SILK; {CONVERT}",
    b"ajkg": f"Shorten, as in old NIST corpora; {CONVERT}",
    b"\x1f\x8b": "a gzip file; unpack it",
    b"pk\3\4": "a zip file; unpack it",
}


@dataclass(frozen=True)
class AudioFacts:
    """``frames`` samples a channel at ``rate`` Hz; ``format`` and ``subtype`` as in libsndfile."""

    frames: int
    rate: int
    channels: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.rate


class BadAudioError(Exception):
    """A file that cannot be used: ``kind`` for grouping, ``detail`` for the reader."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def read_audio(path: str | Path, channel: int | str | None = None) -> tuple[np.ndarray, AudioFacts]:
    """Read one channel of a whole file and check it.

    Parameters
    ----------
    path : audio of any format that libsndfile reads.
    channel : number of the channel, from 0; ``mix`` for the mean of all; None for the only one.

    Returns
    -------
    samples : float32 ``[N]``.
    facts : what was found; ``frames`` is N.

    Raises
    ------
    BadAudioError : missing, empty, unreadable, truncated, several channels and none chosen, or
        NaN or infinite samples.
    """
    with _present(Path(path)) as stream:
        return decode_audio(stream, channel)


def decode_audio(
    stream: BinaryIO, channel: int | str | None = None
) -> tuple[np.ndarray, AudioFacts]:
    """``read_audio`` of an open file, or of bytes in an ``io.BytesIO``.

    Parameters
    ----------
    stream : can be sought in.
    channel : as of ``read_audio``.

    Raises
    ------
    BadAudioError : as ``read_audio``.
    """
    head = _peek(stream)
    try:
        whole, declared = _with_its_length(stream, head)
        with _sound(whole) as sound:
            _check_declared(sound)
            samples = _read_to_the_end(sound)
            facts = AudioFacts(
                len(samples), sound.samplerate, sound.channels, sound.format, sound.subtype
            )
    except soundfile.LibsndfileError as error:
        size = stream.seek(0, io.SEEK_END)
        kind = _looks_like(head)
        reason = f"looks like {kind}" if kind else f"{error.error_string.strip()}; {CONVERT}"
        raise BadAudioError("unreadable audio", f"{reason} ({size} bytes)") from error
    _check_length(facts, declared)
    chosen = _one_channel(samples, channel)
    bad = int(np.count_nonzero(~np.isfinite(chosen)))
    if bad:
        raise BadAudioError(
            "NaN audio", f"{bad} of {len(chosen)} samples are NaN or infinite; make the file anew"
        )
    return chosen, facts


def audio_seconds(path: str | Path) -> float:
    """Duration, without decoding where the frames can be counted without it (MP3).

    Raises
    ------
    BadAudioError : missing, empty, unreadable or truncated.
    """
    with _present(Path(path)) as stream:
        head = _peek(stream)
        if not _is_mpeg(head):
            return decode_audio(stream, MIX)[1].seconds
        try:
            whole, declared = _with_its_length(stream, head)
            with _sound(whole) as sound:
                facts = AudioFacts(sound.frames, sound.samplerate, 1, sound.format, sound.subtype)
        except soundfile.LibsndfileError:
            return decode_audio(stream, MIX)[1].seconds  # the error describes the file
        _check_length(facts, declared)
        return facts.seconds


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Change the sampling rate, high quality, no clipping of overshoots.

    Parameters
    ----------
    samples : float32 ``[N]``.
    rate : theirs, Hz.
    new_rate : of the result, Hz.
    """
    if rate == new_rate:
        return samples
    return soxr.resample(samples, rate, new_rate, quality="HQ").astype(np.float32)


class _ToTheEnd(soundfile.SoundFile):
    """Reads on where the declared length ends, and never seeks, which needs a true length."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _present(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.is_dir():
            raise BadAudioError("unreadable audio", "is a directory")
        with open(path, "rb", buffering=0) as stream:  # libsndfile reads from where it stands
            yield stream
    except FileNotFoundError as error:
        hint = "" if path.is_absolute() else f" (looked from {Path.cwd()})"
        if ARCHIVED.fullmatch(str(path)):
            hint = "; `distill-asr prepare` takes audio out of Kaldi archives"
        raise BadAudioError(
            "missing audio", f"no such file{hint}; correct the path, or bring it back"
        ) from error
    except OSError as error:
        raise BadAudioError("unreadable audio", str(error.strerror or error)) from error
    except ValueError as error:  # a NUL in the path
        raise BadAudioError("unreadable audio", str(error)) from error


def _peek(stream: BinaryIO) -> bytes:
    head = stream.read(64)
    stream.seek(0)
    if not head:
        raise BadAudioError("empty audio", "the file has 0 bytes; copy it again")
    return head


@contextmanager
def _sound(stream: BinaryIO) -> Iterator[_ToTheEnd]:
    """By descriptor where there is one: libsndfile looks for a `._` file beside a named one."""
    stream.seek(0)
    try:
        place: int | BinaryIO = stream.fileno()
    except io.UnsupportedOperation:
        place = stream
    with _ToTheEnd(place, closefd=False) as sound:
        yield sound


def _read_to_the_end(sound: _ToTheEnd) -> np.ndarray:
    """float32 ``[N, C]``."""
    blocks: list[np.ndarray] = []
    size = min(sound.frames + 1, _BLOCK)
    while not blocks or len(blocks[-1]) == size:
        blocks.append(sound.read(size, dtype="float32", always_2d=True))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _with_its_length(stream: BinaryIO, head: bytes) -> tuple[BinaryIO, int | None]:
    """The file in a form that libsndfile reads to its end, and the samples its header declares."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _wav(stream), None
    if head[:4] == b"fLaC":
        flac = bytearray(stream.read())
        declared = int.from_bytes(flac[18:26], "big") & 0xFFFFFFFFF
        flac[21] &= 0xF0  # 0 samples and no checksum: unknown, as from a pipe
        flac[22:42] = bytes(20)
        return io.BytesIO(flac), declared or None
    if _is_mpeg(head):
        content = stream.read()
        found = scan_mpeg(content)
        if found.declared is not None and found.samples < found.declared - _MP3_SLACK:
            raise _truncated(found.declared, found.samples)
        with _sound(stream) as sound:
            guessed = sound.frames
        wrong = found.first is not None and abs(guessed - found.samples) > _MP3_SLACK
        whole = io.BytesIO(with_true_length(content, found)) if wrong else stream
        return whole, found.samples - _MP3_SLACK if found.first else None
    return stream, None


def _wav(stream: BinaryIO) -> BinaryIO:
    """A wav with the right data size: 0 is filled in, a size that is too small raises."""
    total = stream.seek(0, io.SEEK_END)
    position = 12
    while position + 8 <= total:
        stream.seek(position)
        name, size = stream.read(4), int.from_bytes(stream.read(4), "little")
        if name != b"data":
            position += 8 + size + size % 2
            continue
        start = position + 8
        there = total - start
        if size < there and not _only_chunks(stream, start + size, total):
            if size:
                raise BadAudioError(
                    "wrong length",
                    f"the header declares {size} bytes of samples, {there} lie behind it; mend it "
                    "(`sox --ignore-length IN OUT`) or copy it again",
                )
            stream.seek(0)
            content = bytearray(stream.read())  # its writer never came back to fill in the size
            content[position + 4 : start] = there.to_bytes(4, "little")
            return io.BytesIO(content)
        break
    return stream


def _only_chunks(stream: BinaryIO, position: int, total: int) -> bool:
    """Whether all that lies behind the samples are further chunks or tags."""
    stream.seek(position)
    if position % 2 and stream.read(1) == b"\0":
        position += 1
    while total - position >= 8:
        stream.seek(position)
        name, size = stream.read(4), int.from_bytes(stream.read(4), "little")
        if name[:3] in (b"TAG", b"ID3"):
            return True
        if not (name.isascii() and name.decode().isprintable() and size <= total - position - 8):
            return False
        position += 8 + size + size % 2
    return total - position < 8


def _is_mpeg(head: bytes) -> bool:
    """Whether a file starts as MP3: ID3, or the synchronisation of a frame of layer III."""
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2)


def _looks_like(head: bytes) -> str | None:
    """What a file that libsndfile cannot read is, by its first bytes."""
    if head[4:8] == b"ftyp":
        return f"AAC or other audio in MP4; {CONVERT}"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return f"AAC; {CONVERT}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)


def _check_declared(sound: soundfile.SoundFile) -> None:
    for declared, present in _DECLARED.findall(sound.extra_info):
        if int(present) < int(declared) < _UNKNOWN_SIZE:
            raise BadAudioError(
                "truncated audio",
                f"the header declares {declared} bytes of samples, {present} are there; "
                "copy it again",
            )


def _check_length(facts: AudioFacts, declared: int | None) -> None:
    if declared is not None and facts.frames < declared:
        raise _truncated(declared, facts.frames)
    if facts.frames == 0:
        raise BadAudioError("empty audio", "the file has no samples")


def _truncated(declared: int, found: int) -> BadAudioError:
    what = f"the header declares {declared} samples, {found} can be read; copy it again"
    return BadAudioError("truncated audio", what)


def _one_channel(samples: np.ndarray, channel: int | str | None) -> np.ndarray:
    """float32 ``[N]`` of ``[N, C]``."""
    channels = samples.shape[1]
    if channels == 1 and channel in (None, 0, MIX):
        return np.ascontiguousarray(samples[:, 0])
    if channel is None:
        raise BadAudioError(
            "not mono",
            f"{channels} channels; `distill-asr prepare --channel 0` takes the first, "
            "`--channel mix` the mean",
        )
    if channel == MIX:
        return samples.mean(axis=1)
    assert isinstance(channel, int)
    if channel >= channels:
        raise BadAudioError(
            "no such channel",
            f"--channel {channel}: the file has {channels} channel(s), counted from 0; choose "
            "another",
        )
    return np.ascontiguousarray(samples[:, channel])
