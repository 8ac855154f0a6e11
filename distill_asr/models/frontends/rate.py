"""Sampling rate of the audio that a front-end reads, from its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEFAULT = 16000  # of ESPnet's front-ends


def sampling_rate_of(frontend_conf: Mapping[str, Any] | None) -> int:
    """Rate in Hz, which ESPnet takes as a number or as ``16k``."""
    fs = (frontend_conf or {}).get("fs", _DEFAULT)
    if isinstance(fs, str):
        return int(float(fs.lower().rstrip("k")) * (1000 if fs.lower().endswith("k") else 1))
    return int(fs)
