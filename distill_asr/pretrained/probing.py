"""Rate and shortest audio of a model, measured on noise. Legend: N samples, S positions."""

from collections.abc import Callable

import numpy as np

SHORT = 32000  # samples
LONGER = 161280  # samples; a multiple of all usual steps, so that the rate comes out exactly


def noise(num_samples: int) -> np.ndarray:
    """The same quiet noise each time, float32 [N]."""
    return np.random.default_rng(0).normal(0, 0.1, num_samples).astype(np.float32)


def measure(num_positions: Callable[[np.ndarray], int], rate: int) -> tuple[float | None, int]:
    """Measure a model by running it.

    Parameters
    ----------
    num_positions : runs the model on a waveform [N]; may raise anything where it is too short.
    rate : of the audio in Hz.

    Returns
    -------
    step_ms, min_samples : duration of one position, None where there are as many however long the
        audio is; and the shortest audio that gives one.
    """
    short, long = (num_positions(noise(count)) for count in (SHORT, SHORT + LONGER))
    low, high = 0, SHORT
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _works(num_positions, middle) else (middle, high)
    return (1000 * LONGER / rate / (long - short) if long > short else None), high


def _works(num_positions: Callable[[np.ndarray], int], num_samples: int) -> bool:
    try:
        return num_positions(noise(num_samples)) > 0
    except Exception:  # each library has its own for audio that is too short
        return False
