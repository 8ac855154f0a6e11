"""Noise, and mixing it with speech. Every result is a function of its arguments alone."""

from collections.abc import Sequence

import numpy as np


def white_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with a flat spectrum, float32 ``[N]``, unit power.

    Parameters
    ----------
    samples : N.
    rng : draws it.
    """
    return _unit_power(rng.standard_normal(samples))


def pink_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise that falls 3 dB an octave, float32 ``[N]``, unit power.

    Parameters
    ----------
    samples : N.
    rng : draws it.
    """
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    bins = np.arange(len(spectrum))
    bins[0] = max(1, len(spectrum) // 100)  # neither infinite nor dominant at 0 Hz
    return _unit_power(np.fft.irfft(spectrum / np.sqrt(bins), n=samples))


def babble(
    speech: Sequence[np.ndarray], samples: int, rng: np.random.Generator, talkers: int = 6
) -> np.ndarray:
    """Several talkers at once, each an endless loop of one recording from a random start.

    Parameters
    ----------
    speech : recordings to draw from, float ``[N_i]``, all at one rate.
    samples : length of the result.
    rng : draws recordings and starts.
    talkers : how many speak at a time.
    """
    total = np.zeros(samples)
    for index in rng.choice(len(speech), size=min(talkers, len(speech)), replace=False):
        one = _unit_power(speech[index])
        start = int(rng.integers(len(one)))
        total += np.take(one, np.arange(start, start + samples), mode="wrap")
    return _unit_power(total)


def add_noise(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise at a ratio of powers over the whole utterance, float32 ``[N]``.

    Parameters
    ----------
    speech : float ``[N]``.
    noise : float ``[N]`` of any level.
    snr_db : speech power over noise power, dB.

    Raises
    ------
    ValueError : lengths differ.
    """
    if len(speech) != len(noise):
        raise ValueError(f"speech has {len(speech)} samples, noise {len(noise)}")
    level = np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    gain = level * 10.0 ** (-snr_db / 20.0)
    return (speech + gain * _unit_power(noise)).astype(np.float32)


def scale_peak(samples: np.ndarray, peak: float) -> np.ndarray:
    """Scale so that the largest magnitude is ``peak``; silence stays silence.

    Parameters
    ----------
    samples : float ``[N]``.
    peak : 0 to 1.
    """
    largest = float(np.max(np.abs(samples), initial=0.0))
    return samples if largest == 0.0 else (samples * (peak / largest)).astype(np.float32)


def _unit_power(samples: np.ndarray) -> np.ndarray:
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return (samples / np.sqrt(power) if power > 0 else samples).astype(np.float32)
