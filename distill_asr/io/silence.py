"""Cuts long audio where it is quiet. Legend: N samples."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.02  # of which the energy is taken
PAUSE_S = 0.2  # over which it is averaged, so that a closed stop is not a pause


def cut_at_silences(waveform: np.ndarray, rate: int, longest: int) -> list[slice]:
    """Parts that follow each other and cover all of the audio.

    Each cut is at the quietest moment of the second half of what fits, so that parts are not
    short for nothing.

    Parameters
    ----------
    waveform : [N].
    rate : in Hz.
    longest : samples of a part; at least 1 s.

    Raises
    ------
    ValueError : ``longest`` is less than 1 s.
    """
    if longest < rate:
        raise ValueError(f"parts of {longest} samples at {rate} Hz: expected at least 1 s")
    parts, begin = [], 0
    while len(waveform) - begin > longest:
        first = begin + longest // 2
        cut = first + _quietest(waveform[first : begin + longest], rate)
        parts.append(slice(begin, cut))
        begin = cut
    return [*parts, slice(begin, len(waveform))]


def _quietest(waveform: np.ndarray, rate: int) -> int:
    """The middle of the quietest pause, in samples; at least 1, so that what is cut has a length.

    Of equally quiet ones the last.
    """
    frame = max(1, round(FRAME_S * rate))
    count = len(waveform) // frame
    energy = np.square(waveform[: count * frame], dtype=np.float64).reshape(count, frame).mean(1)
    width = min(count, max(1, round(PAUSE_S / FRAME_S)))
    smooth = np.convolve(energy, np.ones(width) / width, mode="valid")
    # rounding of the running sum must not choose between pauses of digital silence
    quiet = np.flatnonzero(smooth <= smooth.min() + 1e-12)
    return max(1, round((quiet[-1] + width / 2) * frame))
