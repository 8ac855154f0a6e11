"""Reading one audio file and saying exactly what is wrong with it."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# libsndfile shortens a cut-off file silently, but its log keeps what the header had declared.
_DECLARED = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_ARCHIVE = re.compile(r"\.ark:\d+$")
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write into a pipe declare this much or more
_MP3_FRAME = 1152  # samples; the length of an MP3 file is known to a few frames only


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


def read_audio(path: str | Path) -> tuple[np.ndarray, AudioFacts]:
    """Read a whole mono file and check it.

    Returns
    -------
    samples : float32 ``[N]``.
    facts : what the header says.

    Raises
    ------
    BadAudioError : missing, empty, unreadable, truncated, not mono, or NaN or infinite samples.
    """
    import soundfile

    path = Path(path)
    _check_presence(path)
    try:
        info = soundfile.info(path)
        _check_header(info)
        samples, _ = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise BadAudioError(
            "unreadable audio", f"{error.error_string} ({path.stat().st_size} bytes)"
        ) from error
    slack = 3 * _MP3_FRAME if info.format == "MP3" else 0
    if len(samples) < info.frames - slack:
        raise BadAudioError(
            "truncated audio",
            f"the header declares {info.frames} samples, {len(samples)} can be read; copy it again",
        )
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise BadAudioError("NaN audio", f"{bad} of {len(samples)} samples are NaN or infinite")
    return samples, _facts(info)


def audio_facts(path: str | Path) -> AudioFacts:
    """What the header of a file says that ``read_audio`` accepts."""
    import soundfile

    return _facts(soundfile.info(path))


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Change the sampling rate of float32 ``[N]`` (Hz), high quality, no clipping of overshoots."""
    if rate == new_rate:
        return samples
    import soxr

    return soxr.resample(samples, rate, new_rate, quality="HQ").astype(np.float32)


def _facts(info: "soundfile._SoundFileInfo") -> AudioFacts:  # noqa: F821
    return AudioFacts(info.frames, info.samplerate, info.channels, info.format, info.subtype)


def _check_presence(path: Path) -> None:
    if path.is_dir():
        raise BadAudioError("unreadable audio", "is a directory")
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise BadAudioError("missing audio", f"no such file{_missing_hint(path)}") from error
    except OSError as error:
        raise BadAudioError("unreadable audio", str(error.strerror)) from error
    if size == 0:
        raise BadAudioError("empty audio", "the file has 0 bytes; copy it again")


def _missing_hint(path: Path) -> str:
    if _ARCHIVE.search(path.name):
        return "; audio inside Kaldi archives is not read, write one file an utterance"
    return "" if path.is_absolute() else f" (looked from {Path.cwd()})"


def _check_header(info: "soundfile._SoundFileInfo") -> None:  # noqa: F821
    for declared, present in _DECLARED.findall(info.extra_info):
        if int(present) < int(declared) < _UNKNOWN_SIZE:
            raise BadAudioError(
                "truncated audio",
                f"the header declares {declared} bytes of samples, {present} are there; "
                "copy it again",
            )
    if info.frames == 0:
        raise BadAudioError("empty audio", "the file has no samples")
    if info.channels != 1:
        raise BadAudioError(
            "not mono",
            f"{info.channels} channels; mix them down (`sox IN OUT remix -`) or take one "
            "(`sox IN OUT remix 1`)",
        )
