"""Synthetic speech: espeak-ng from the ``espeakng-loader`` wheel, noise, and mixing.

Every utterance is a function of its arguments alone, bit for bit, on one machine and one set of
library versions.
"""

import atexit
import contextlib
import ctypes
import functools
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill_asr.errors import UserError

ESPEAK_RATE = 22050  # Hz, what the library delivers for its formant voices

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback before espeak_Synth returns
_DONT_EXIT = 0x8000  # report a missing data path instead of ending the process
_PHONES = 1  # tell where each phone begins
_END, _WORD, _PHONE = 0, 1, 7  # espeak_EVENT_TYPE
_PAUSE = b"_"  # begins the names of phones that are pauses
_UTF8 = 1
_IPA = 2  # espeak_TextToPhonemes: International Phonetic Alphabet, UTF-8
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_RANDOM_SEED = 1
_LONGEST_PATH = 120  # bytes; the library fails at some 160, file names included


class _Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


@dataclass(frozen=True)
class SpokenWord:
    """Where a word stands in the text, and where its phones begin in the audio."""

    position: int  # of its first character
    phones: tuple[int, ...]  # first samples, at ``ESPEAK_RATE``; pauses are left out


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
# Breath noise in the Klatt synthesiser (1.52) reads memory that is not initialised.
_NOT_REPEATABLE = {"Reed", "caleb"}

_chunks: list[bytes] = []
_events: list[tuple[int, int, int, bytes]] = []  # type, position in the text, sample, phone
_lock = threading.Lock()


def _collect(samples: "ctypes._Pointer", count: int, events: "ctypes._Pointer") -> int:
    if samples and count > 0:
        _chunks.append(ctypes.string_at(samples, 2 * count))
    number = 0
    while events and (event := events[number]).type != _END:
        _events.append((event.type, event.text_position - 1, event.sample, event.name))
        number += 1
    return 0


# The library keeps the bare address, so this object has to outlive every loaded copy of it.
_CALLBACK = _SynthCallback(_collect)


def synthesise(
    text: str,
    voice: str = "en-us",
    *,
    rate: int = 160,
    pitch: int = 50,
    pitch_range: int = 50,
    volume: int = 100,
) -> tuple[np.ndarray, int]:
    """Speak one utterance.

    Parameters
    ----------
    text : the words to speak, UTF-8.
    voice : language and optional variant, such as ``en-us`` or ``en-gb-scotland+f3``.
    rate : words a minute, 80 to 450.
    pitch, pitch_range : 0 to 100.
    volume : 0 to 200; 100 is the library's own level.

    Returns
    -------
    samples : float32 ``[N]`` in [-1, 1).
    sampling_rate : Hz, always ``ESPEAK_RATE``.

    Raises
    ------
    UserError : the wheel is not installed or its voice data cannot be read.
    ValueError : an unknown voice, or a text without anything to speak.
    """
    settings = {_RATE: rate, _PITCH: pitch, _RANGE: pitch_range, _VOLUME: volume}
    with _started(voice, settings) as library:
        _speak(library, text)
        return _spoken_samples(voice, text), ESPEAK_RATE


def synthesise_words(
    text: str, voice: str, *, rate: int = 160, pitch: int = 50
) -> tuple[np.ndarray, int, list[SpokenWord]]:
    """Speak one utterance as ``synthesise`` does, sample by sample, with the places of its words.

    Parameters
    ----------
    text, voice, rate, pitch : as in ``synthesise``, which also says what is raised.

    Returns
    -------
    samples, sampling_rate : as ``synthesise``.
    words : in the order of the audio. The library may read one written word as several.
    """
    with _started(voice, {_RATE: rate, _PITCH: pitch}, _PHONES) as library:
        _speak(library, text)
        return _spoken_samples(voice, text), ESPEAK_RATE, list(_spoken_words())


def _spoken_samples(voice: str, text: str) -> np.ndarray:
    samples = np.frombuffer(b"".join(_chunks), dtype=np.int16)
    if not samples.any():
        raise ValueError(f"espeak-ng voice {voice!r} has nothing to speak in {text!r}")
    return samples.astype(np.float32) / 32768.0


def _spoken_words() -> Iterator[SpokenWord]:
    """The words of the events, each with the phones that follow it."""
    starts = [i for i, event in enumerate(_events) if event[0] == _WORD]
    for first, after in zip(starts, [*starts[1:], len(_events)], strict=True):
        phones = (e for e in _events[first:after] if e[0] == _PHONE and not e[3].startswith(_PAUSE))
        yield SpokenWord(_events[first][1], tuple(sample for _, _, sample, _ in phones))


def transcribe(text: str, voice: str) -> str:
    """The phones that ``synthesise`` would speak, in the International Phonetic Alphabet.

    Words are split by spaces; marks of stress, length and tone stay.

    Parameters
    ----------
    text : what to speak.
    voice : of espeak-ng, such as ``en-us``.

    Raises
    ------
    ValueError : as ``synthesise``.
    """
    with _started(voice, {}) as library:
        clauses = list(_clauses(library, text))
    if not (phones := " ".join(" ".join(clauses).split())):
        raise ValueError(f"espeak-ng voice {voice!r} has nothing to speak in {text!r}")
    return phones


@functools.cache
def variants() -> tuple[str, ...]:
    """Names that may follow ``+`` in a voice (``f3``, ``m7``, ``Annie`` ...), sorted.

    Two that do not sound the same twice are left out.
    """
    _, data_path = _wheel_paths()
    names = {path.name for path in (Path(data_path) / "voices" / "!v").iterdir()}
    return tuple(sorted(names - _NOT_REPEATABLE))


@functools.cache
def _wheel_paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "speech synthesis needs the package espeakng-loader, which is not installed: "
            "pip install espeakng-loader"
        ) from error
    return espeakng_loader.get_library_path(), _short_path(espeakng_loader.get_data_path())


def _short_path(path: str) -> str:
    """The same directory by a path that fits into the library's buffer."""
    if len(path.encode()) <= _LONGEST_PATH:
        return path
    folder = tempfile.mkdtemp(prefix="espeak")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder) / "data"
    link.symlink_to(path, target_is_directory=True)
    return str(link)


@contextlib.contextmanager
def _started(voice: str, settings: dict[int, int], options: int = 0) -> Iterator[ctypes.CDLL]:
    """The library, for this thread alone.

    The synthesiser carries phases, flutter and noise over from one utterance to the next, even
    through espeak_Terminate. Only a freshly loaded library starts from a known state; loading takes
    about 3 ms.
    """
    library_path, data_path = _wheel_paths()
    with _lock:
        _chunks.clear()
        _events.clear()
        library = ctypes.CDLL(library_path)
        try:
            _start(library, data_path, voice, settings, options)
            yield library
        finally:
            library.espeak_Terminate()
            _unload(library)


def _start(
    library: ctypes.CDLL, data_path: str, voice: str, settings: dict[int, int], options: int
) -> None:
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DONT_EXIT | options)
    if rate != ESPEAK_RATE:
        raise UserError(
            f"espeak-ng cannot read its voice data in {data_path} (status {rate}); "
            "reinstall espeakng-loader"
        )
    library.espeak_SetSynthCallback(_CALLBACK)
    library.espeak_ng_SetRandSeed(ctypes.c_long(_RANDOM_SEED))
    variant = voice.partition("+")[2]
    # An unknown variant is ignored by the library, which would give the plain voice instead.
    if (variant and variant not in variants()) or library.espeak_SetVoiceByName(voice.encode()):
        raise ValueError(f"unknown espeak-ng voice {voice!r}; variants: {', '.join(variants())}")
    for parameter, value in settings.items():
        if library.espeak_SetParameter(parameter, int(value), 0):
            raise ValueError(f"espeak-ng refuses value {value} for parameter {parameter}")


def _speak(library: ctypes.CDLL, text: str) -> None:
    data = text.encode("utf-8") + b"\0"
    size = ctypes.c_size_t(len(data))
    status = library.espeak_Synth(data, size, 0, 1, 0, _UTF8, None, None)
    if status:
        raise RuntimeError(f"espeak_Synth failed with status {status} for {text!r}")
    library.espeak_Synchronize()


def _clauses(library: ctypes.CDLL, text: str) -> Iterator[str]:
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text.encode("utf-8"))
    while rest.value is not None:  # the library moves it on, to nothing at the end
        phones = library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
        yield (phones or b"").decode("utf-8")


def _unload(library: ctypes.CDLL) -> None:
    import _ctypes

    close = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
    close(library._handle)
