"""Results of a recognition session; nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recognised:
    """The hypothesis of a segment, which lasts from one endpoint to the next.

    Parameters
    ----------
    text : words.
    tokens : their ids; grow at the end only.
    times : seconds from the begin of the audio to the encoder frame in which each came out.
    heard : seconds of audio received so far.
    final : the segment is complete.
    """

    text: str
    tokens: list[int]
    times: list[float]
    heard: float
    final: bool
