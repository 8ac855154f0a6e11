"""The audio behind a dump: headers checked, contents hashed, samples read."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.data.audio import BadAudioError, read_audio
from distill_asr.errors import UserError
from distill_asr.targets.checksum import file_sha256
from distill_asr.targets.manifest import Source

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir

SAMPLE_RATE = 16000  # Hz
READERS = 4


class BadSamplesError(UserError):
    """An audio file whose samples cannot be used."""


class AudioSource:
    """The utterances of one data dir, in sorted order.

    Parameters
    ----------
    data_dir : a prepared data dir (16 kHz mono).

    Raises
    ------
    UserError : no utt2num_samples; or names every file that cannot be opened, is not 16 kHz mono,
        or differs in length from utt2num_samples.
    """

    def __init__(self, data_dir: "DataDir") -> None:
        self.path = Path(data_dir.path)
        self.wav = {utterance: data_dir.wav[utterance] for utterance in sorted(data_dir.wav)}
        if not self.wav:
            raise UserError(f"{self.path / 'wav.scp'}: no utterances, nothing to dump")
        if data_dir.num_samples is None:
            raise UserError(
                f"{self.path}: has no utt2num_samples; run `distill-asr prepare`, and give the "
                "directory that it writes"
            )
        self.num_samples = {utterance: data_dir.num_samples[utterance] for utterance in self.wav}
        self._check_headers()
        self._digests: dict[str, str] | None = None

    def read(self, utterance: str) -> np.ndarray:
        """Give float32 [num_samples]; BadSamplesError if the audio is truncated or not finite."""
        where = self._where(utterance)
        try:
            samples, facts = read_audio(self.wav[utterance])
        except BadAudioError as bad:
            raise BadSamplesError(f"{where}: {bad.kind}: {bad.detail}") from bad
        expected = self.num_samples[utterance]
        # of an MP3 file only the header's length is on record, which is not exact
        wrong_length = len(samples) != expected and facts.format != "MP3"
        if facts.rate != SAMPLE_RATE or wrong_length:
            raise BadSamplesError(
                f"{where}: {len(samples)} samples of {facts.rate} Hz, expected {expected} of "
                f"{SAMPLE_RATE} Hz; the file was changed: run `distill-asr prepare` again"
            )
        return samples

    def fingerprint(self) -> Source:
        """Fingerprint of all utterances (reads all the audio files once)."""
        lengths = lengths_sha256(self.num_samples)
        return Source(len(self.wav), lengths, self.audio_sha256(self.wav))

    def audio_sha256(self, utterances: Iterable[str]) -> str:
        """Hash of the given utterances' ids and audio files, independent of paths."""
        if self._digests is None:
            self._digests = _for_all(
                lambda u: file_sha256(self.wav[u]), self.wav, f"{self.path}: checksums"
            )
        return _lines_sha256({u: self._digests[u] for u in utterances})

    def problems(self) -> list[str]:
        """Read everything and say what is wrong with each bad file."""
        return [
            problem
            for found in _for_all(self._problems_of, self.wav, f"{self.path}: reading").values()
            for problem in found
        ]

    def seconds(self, utterances: Iterable[str]) -> float:
        """Duration of the given utterances."""
        return self.samples(utterances) / SAMPLE_RATE

    def samples(self, utterances: Iterable[str]) -> int:
        """Length of the given utterances."""
        return sum(self.num_samples[u] for u in utterances)

    def _problems_of(self, utterance: str) -> list[str]:
        try:
            self.read(utterance)
        except BadSamplesError as error:
            return error.problems
        return []

    def _check_headers(self) -> None:
        found = _for_all(self._header_problem, self.wav, f"{self.path}: headers")
        if problems := [problem for problem in found.values() if problem]:
            raise UserError(problems)

    def _header_problem(self, utterance: str) -> str | None:
        """Say what is wrong as far as the header tells."""
        import soundfile

        where = self._where(utterance)
        try:
            info = soundfile.info(self.wav[utterance])
        except (soundfile.LibsndfileError, OSError) as error:
            return f"{where}: cannot be read ({error})"
        if info.samplerate != SAMPLE_RATE or info.channels != 1:
            return (
                f"{where}: {info.samplerate} Hz, {info.channels} channel(s), expected "
                f"{SAMPLE_RATE} Hz mono; run `distill-asr prepare`"
            )
        expected = self.num_samples[utterance]
        # the header of an MP3 file does not tell its exact length
        if info.frames != expected and info.format != "MP3":
            return (
                f"{where}: {info.frames} samples, but utt2num_samples says {expected}; the file "
                "is truncated or was changed: run `distill-asr prepare` again"
            )
        return None

    def _where(self, utterance: str) -> str:
        return f"{self.path}: utterance {utterance}: {self.wav[utterance]}"


def lengths_sha256(num_samples: Mapping[str, int]) -> str:
    """Hash of ids and lengths: the quick part of a fingerprint."""
    return _lines_sha256(num_samples)


def batches(
    num_samples: Mapping[str, int], utterances: Iterable[str], batch_seconds: float
) -> list[list[str]]:
    """Group utterances, longest first, so that a padded batch lasts at most ``batch_seconds``.

    An utterance longer than that is a batch of its own.
    """
    budget = batch_seconds * SAMPLE_RATE
    groups: list[list[str]] = []
    room = 0
    for utterance in sorted(utterances, key=lambda u: (-num_samples[u], u)):
        if room == 0:
            groups.append([])
            room = max(1, math.floor(budget / num_samples[utterance]))
        groups[-1].append(utterance)
        room -= 1
    return groups


def _for_all(
    function: Callable[[str], Any], utterances: Iterable[str], doing: str
) -> dict[str, Any]:
    """Call a function that mostly reads files for each utterance, in threads."""
    from tqdm import tqdm

    names = list(utterances)
    with ThreadPoolExecutor(READERS) as pool:
        results = tqdm(pool.map(function, names), doing, len(names), leave=False, delay=2)
        return dict(zip(names, results, strict=True))


def _lines_sha256(values: Mapping[str, object]) -> str:
    lines = "".join(f"{key} {values[key]}\n" for key in sorted(values))
    return hashlib.sha256(lines.encode()).hexdigest()
