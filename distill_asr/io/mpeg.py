"""Counts the samples of an MP3 stream by its frames.

A stream of variable bit rate gives its length only in a Xing header, which its writer may not have
been able to put in front. Without it, libsndfile guesses from the first frames and stops where it
guessed. With a header of the true count in front it decodes everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_KBIT = {  # by MPEG version 1 or not, layer III
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TAGS = (b"Xing", b"Info")
_HAS_FRAMES, _HAS_BYTES = 1, 2


@dataclass(frozen=True)
class MpegFrame:
    """One frame's header, and where the frame starts and ends in the stream."""

    start: int
    end: int
    header: bytes
    samples: int

    @property
    def tag_at(self) -> int:
        """Where a Xing header would stand in the stream: behind the side information."""
        mono = self.header[3] >> 6 == 3
        if self.samples == 1152:
            return self.start + 4 + (17 if mono else 32)
        return self.start + 4 + (9 if mono else 17)


@dataclass(frozen=True)
class MpegStream:
    """What the frames of a stream add up to.

    Parameters
    ----------
    samples : of a channel, in all complete frames with audio.
    declared : the count of a Xing header; None without one.
    first : the first frame; None if no frame can be counted.
    """

    samples: int
    declared: int | None
    first: MpegFrame | None


def scan_mpeg(content: bytes) -> MpegStream:
    """Count the frames of an MPEG audio stream, layer III."""
    frames = _frames(content)
    first = next(frames, None)
    if first is None:
        return MpegStream(0, None, None)
    samples, declared = first.samples, None
    tag = content[first.tag_at : first.tag_at + 12]
    if tag[:4] in _TAGS:
        samples = 0  # that frame is silence
        if tag[7] & _HAS_FRAMES:
            declared = int.from_bytes(tag[8:12], "big") * first.samples
    return MpegStream(samples + sum(one.samples for one in frames), declared, first)


def with_true_length(content: bytes, stream: MpegStream) -> bytes:
    """The stream with a Xing header of its true number of frames, instead of any other.

    Parameters
    ----------
    content : bytes of the whole file.
    stream : what was found in it.
    """
    first = stream.first
    if first is None:
        return content
    start = first.start if stream.declared is None else first.end
    header = bytearray(first.header)
    # the largest frame, so that the Xing header fits into it
    header[1] |= 1  # no checksum
    header[2] = header[2] & 0x0F | 14 << 4
    made = _parse(bytes(header))
    assert made is not None  # of a header that was one
    size = made.size
    frame = bytearray(size)
    frame[:4] = header
    at = first.tag_at - first.start
    count = stream.samples // first.samples
    length = len(content) - start + size
    frame[at : at + 8] = b"Xing" + (_HAS_FRAMES | _HAS_BYTES).to_bytes(4, "big")
    frame[at + 8 : at + 16] = count.to_bytes(4, "big") + length.to_bytes(4, "big")
    return bytes(frame) + content[start:]


@dataclass(frozen=True)
class _Header:
    size: int
    samples: int
    kind: tuple[int, int]  # version and rate, the same in all frames


def _parse(header: bytes) -> _Header | None:
    """A frame's header, or None where these four bytes are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bits in (0, 15) or rate == 3:
        return None
    newest = version == 3
    samples = 1152 if newest else 576
    hertz = _RATES[version][rate]
    size = samples // 8 * 1000 * _KBIT[newest][bits] // hertz + (header[2] >> 1 & 1)
    return _Header(size, samples, (version, hertz))


def _frames(content: bytes) -> Iterator[MpegFrame]:
    """Complete frames, one after the other; what lies between them is skipped."""
    position, kind = _after_id3(content), None
    while position + 4 <= len(content):
        found = _parse(content[position : position + 4])
        if (
            found is None
            or kind not in (None, found.kind)
            or not _followed(content, position, found)
        ):
            position = content.find(b"\xff", position + 1)
            if position < 0:
                return
            continue
        end = position + found.size
        if end > len(content):
            return
        kind = found.kind
        yield MpegFrame(position, end, content[position : position + 4], found.samples)
        position = end


def _followed(content: bytes, position: int, found: _Header) -> bool:
    """Whether the next frame, a tag or the end stands where this frame ends."""
    end = position + found.size
    after = content[end : end + 4]
    following = _parse(after)
    return (
        len(after) < 4
        or after[:3] in (b"TAG", b"APE", b"ID3")
        or (following is not None and following.kind == found.kind)
    )


def _after_id3(content: bytes) -> int:
    """Where the audio starts, behind an ID3v2 tag."""
    if content[:3] != b"ID3" or len(content) < 10:
        return 0
    size = 0
    for byte in content[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
