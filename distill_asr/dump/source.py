"""Input of teachers from a data dir: audio, sentences, or both; checked, hashed, batched."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError, named
from distill_asr.io.audio import SAMPLE_RATE, BadAudioError, read_audio
from distill_asr.io.identity import CACHE
from distill_asr.io.progress import Bar
from distill_asr.targets.fingerprint import lengths_sha256, lines_sha256, read_sentences
from distill_asr.targets.manifest import Source
from distill_asr.teachers.batching import grouped

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir
    from distill_asr.teachers import Teacher, TeacherConfig

_READERS = 4
_SHOWN = 60  # characters of a sentence in a message


class BadSamplesError(UserError):
    """An audio file whose samples cannot be used."""


class DataSource(ABC):
    """The utterances of one data dir as items of ``Teacher.states``.

    Attributes
    ----------
    reads : what an item is, as in ``Teacher.reads``.
    path : of the data dir.
    ids : sorted.
    """

    reads: str
    path: Path
    ids: list[str]

    @abstractmethod
    def read(self, utterance: str) -> Any:
        """Give the item; BadSamplesError if its audio is truncated or not finite."""

    @abstractmethod
    def sizes(self, utterances: Iterable[str], teacher: Teacher) -> dict[str, int]:
        """Size of each item by ``Teacher.size``, without reading audio.

        Parameters
        ----------
        utterances : ids.
        teacher : counts the pieces of a sentence; audio is counted in samples.
        """

    @abstractmethod
    def budget(self, config: TeacherConfig) -> float:
        """Largest padded size of a batch."""

    @abstractmethod
    def part(self, utterances: Iterable[str]) -> DataSource:
        """Only these utterances, to be sent to another process."""

    @abstractmethod
    def sha256(self, utterances: Iterable[str]) -> str:
        """Hash of the given ids and items' content, independent of paths."""

    @abstractmethod
    def fingerprint(self) -> Source:
        """Fingerprint of everything (hashes audio that has not been hashed yet)."""

    @abstractmethod
    def amount(self, utterances: Iterable[str]) -> int:
        """How much this is: samples of audio, or sentences."""

    def groups(self) -> list[list[str]]:
        """Utterances with one and the same item together, in the order of the first of each."""
        return [[utterance] for utterance in self.ids]

    def size_problems(self, teacher: Teacher) -> list[str]:
        """Name the items that are too short or too long for a teacher."""
        problems = []
        for utterance, size in self.sizes(self.ids, teacher).items():
            limits = []
            if size < (least := self._least(teacher)):
                limits.append(f"the teacher needs at least {least}")
            if teacher.max_size is not None and size > teacher.max_size:
                limits.append(f"the teacher takes at most {teacher.max_size}")
            where = f"{self.path}: utterance {utterance}: {self._described(utterance)}"
            problems += [
                f"{where}: {size} {self._unit}, {limit}; {self._remedy}" for limit in limits
            ]
        return problems

    def file_digests(self, utterances: Iterable[str]) -> dict[str, str]:
        """SHA-256 of each utterance's audio file; empty without audio."""
        return {}

    def problems(self) -> list[str]:
        """Read all audio and report what is wrong with each bad file."""
        return []

    def batches(self, teacher: Teacher, config: TeacherConfig) -> list[list[str]]:
        """Ids, longest first, in groups whose padded size stays within the teacher's budget.

        Parameters
        ----------
        teacher : sizes the items.
        config : holds the budget.
        """
        return grouped(self.sizes(self.ids, teacher), self.budget(config))


class AudioSource(DataSource):
    """The utterances of one data dir, in sorted order.

    Parameters
    ----------
    data_dir : a prepared data dir (16 kHz mono).

    Raises
    ------
    UserError : no utt2num_samples; or names every file that cannot be opened, is not 16 kHz mono,
        or differs in length from utt2num_samples.
    """

    reads = "audio"
    _unit = "samples"
    _remedy = (
        "leave it out with `distill-asr prepare` (--min-duration, --max-duration in seconds), or "
        "cut long recordings with a file `segments`"
    )

    def __init__(self, data_dir: DataDir) -> None:
        self.path = Path(data_dir.path)
        self.wav = {utterance: data_dir.wav[utterance] for utterance in sorted(data_dir.wav)}
        self.ids = list(self.wav)
        if not self.wav:
            raise UserError(
                f"{self.path / 'wav.scp'}: no utterances, nothing to dump; prepare a set with audio"
            )
        if data_dir.num_samples is None:
            raise UserError(
                f"{self.path}: has no utt2num_samples; run `distill-asr prepare`, and give the "
                "directory that it writes"
            )
        self.num_samples = {utterance: data_dir.num_samples[utterance] for utterance in self.wav}
        self._check_headers()
        self._digests: dict[str, str] = {}
        self._cache: Path | None = self.path / CACHE

    def read(self, utterance: str) -> Any:
        """Give float32 [num_samples].

        Raises
        ------
        BadSamplesError : audio that cannot be read, or is not as it was prepared.
        """
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

    def sizes(self, utterances: Iterable[str], teacher: Teacher) -> dict[str, int]:
        """Samples."""
        return {utterance: self.num_samples[utterance] for utterance in utterances}

    def budget(self, config: TeacherConfig) -> float:
        """Samples."""
        return config.batch_seconds * SAMPLE_RATE

    def part(self, utterances: Iterable[str]) -> DataSource:
        """Only these, with absolute paths: another process may work elsewhere."""
        part = copy.copy(self)
        part.ids = sorted(utterances)
        part.wav = {u: str(Path(self.wav[u]).absolute()) for u in part.ids}
        part.num_samples = {u: self.num_samples[u] for u in part.ids}
        part._cache = None  # which one process keeps
        part._digests = {u: self._digests[u] for u in part.ids if u in self._digests}
        return part

    def sha256(self, utterances: Iterable[str]) -> str:
        """Of ids and audio files; each file is read once for it."""
        digests = self.file_digests(utterances)
        return lines_sha256({u: digests[u] for u in utterances})

    def file_digests(self, utterances: Iterable[str]) -> dict[str, str]:
        """SHA-256 of each audio file."""
        names = list(utterances)
        new = [utterance for utterance in names if utterance not in self._digests]
        if new:
            self._digests |= prepared_audio_identity({u: self.wav[u] for u in new}, self._cache)
        return {utterance: self._digests[utterance] for utterance in names}

    def learn(self, digests: Mapping[str, str]) -> None:
        """Take over what another process has found with ``file_digests``."""
        self._digests |= digests

    def fingerprint(self) -> Source:
        """Fingerprint of all utterances."""
        lengths = lengths_sha256(self.num_samples)
        return Source(len(self.ids), lengths, self.sha256(self.ids))

    def amount(self, utterances: Iterable[str]) -> int:
        """Samples."""
        return sum(self.num_samples[u] for u in utterances)

    def problems(self) -> list[str]:
        """Read everything and report what is wrong with each bad file."""
        return [
            problem
            for found in _for_all(self._problems_of, self.ids, f"{self.path}: reading").values()
            for problem in found
        ]

    def _problems_of(self, utterance: str) -> list[str]:
        try:
            self.read(utterance)
        except BadSamplesError as error:
            return error.problems
        return []

    def _least(self, teacher: Teacher) -> int:
        return teacher.min_samples

    def _check_headers(self) -> None:
        found = _for_all(self._header_problem, self.ids, f"{self.path}: headers")
        if problems := [problem for problem in found.values() if problem]:
            raise UserError(problems)

    def _header_problem(self, utterance: str) -> str | None:
        """Report the problems that the header shows."""
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
        # the header of an MP3 file does not give its exact length
        if info.frames != expected and info.format != "MP3":
            return (
                f"{where}: {info.frames} samples, but utt2num_samples has {expected}; the file "
                "is truncated or was changed: run `distill-asr prepare` again"
            )
        return None

    def _where(self, utterance: str) -> str:
        return f"{self.path}: utterance {utterance}: {self.wav[utterance]}"

    def _described(self, utterance: str) -> str:
        return self.wav[utterance]


class TextSource(DataSource):
    """The sentences of one data dir. Equal ones are one item, computed and stored once.

    Parameters
    ----------
    data_dir : with a transcript.
    file : its name in the data dir.

    Raises
    ------
    UserError : no such file, or not a sentence for each utterance of wav.scp.
    """

    reads = "text"
    _unit = "pieces"

    def __init__(self, data_dir: DataDir, file: str = "text") -> None:
        self.path = Path(data_dir.path)
        self.file = file
        self._remedy = f"change it in `{file}`, or drop the utterance"
        self.text = read_sentences(self.path, file)
        self.ids = list(self.text)
        _require_same_ids(self.path, file, set(self.ids), set(data_dir.wav))

    def read(self, utterance: str) -> Any:
        """Give the sentence."""
        return self.text[utterance]

    def sizes(self, utterances: Iterable[str], teacher: Teacher) -> dict[str, int]:
        """Pieces."""
        known: dict[str, int] = {}
        for sentence in (self.text[utterance] for utterance in utterances):
            if sentence not in known:
                known[sentence] = teacher.size(sentence)
        return {utterance: known[self.text[utterance]] for utterance in utterances}

    def size_problems(self, teacher: Teacher) -> list[str]:
        """Name the sentences that are too long for a teacher, or that it cannot judge."""
        problems = super().size_problems(teacher)
        for sentence, utterances in self._utterances().items():
            if (said := teacher.objection(sentence)) is not None:
                where = f"{self.path / self.file}: {named(utterances)}: {self._short(sentence)}"
                problems.append(f"{where}: {said}; {self._remedy}")
        return problems

    def budget(self, config: TeacherConfig) -> float:
        """Pieces."""
        return config.batch_tokens

    def groups(self) -> list[list[str]]:
        """Utterances of equal sentences together."""
        return list(self._utterances().values())

    def part(self, utterances: Iterable[str]) -> DataSource:
        """Only these."""
        part = copy.copy(self)
        part.ids = sorted(utterances)
        part.text = {u: self.text[u] for u in part.ids}
        return part

    def sha256(self, utterances: Iterable[str]) -> str:
        """Of ids and sentences."""
        return lines_sha256({u: self.text[u] for u in utterances})

    def fingerprint(self) -> Source:
        """Fingerprint of all sentences."""
        return Source(len(self.ids), text=self.file, text_sha256=self.sha256(self.ids))

    def amount(self, utterances: Iterable[str]) -> int:
        """Sentences."""
        return len(list(utterances))

    def _least(self, teacher: Teacher) -> int:
        return 1

    def _described(self, utterance: str) -> str:
        return self._short(self.text[utterance])

    def _utterances(self) -> dict[str, list[str]]:
        """Utterances by sentence."""
        of_sentence: dict[str, list[str]] = {}
        for utterance in self.ids:
            of_sentence.setdefault(self.text[utterance], []).append(utterance)
        return of_sentence

    @staticmethod
    def _short(sentence: str) -> str:
        return repr(sentence if len(sentence) <= _SHOWN else f"{sentence[:_SHOWN]}...")


class AudioTextSource(AudioSource):
    """Audio with its sentence, for teachers that read pairs; see the two others."""

    reads = "audio+text"

    def __init__(self, data_dir: DataDir, file: str = "text") -> None:
        super().__init__(data_dir)
        self.file = file
        self._sentences = TextSource(data_dir, file)

    def read(self, utterance: str) -> Any:
        """Give float32 [num_samples] and the sentence."""
        return super().read(utterance), self._sentences.read(utterance)

    def part(self, utterances: Iterable[str]) -> DataSource:
        """Only these."""
        part = super().part(utterances)
        part._sentences = self._sentences.part(part.ids)
        return part

    def sha256(self, utterances: Iterable[str]) -> str:
        """Of ids, audio files and sentences."""
        names = list(utterances)
        both = f"{super().sha256(names)} {self._sentences.sha256(names)}"
        return hashlib.sha256(both.encode()).hexdigest()

    def fingerprint(self) -> Source:
        """Fingerprint of all audio and all sentences."""
        audio, text = AudioSource.sha256(self, self.ids), self._sentences.fingerprint()
        lengths = lengths_sha256(self.num_samples)
        return Source(len(self.ids), lengths, audio, text.text, text.text_sha256)


def open_source(reads: str, data_dir: DataDir, text_file: str = "text") -> DataSource:
    """Check a data dir for a teacher and give its items.

    Parameters
    ----------
    reads : ``audio``, ``text`` or ``audio+text``.
    data_dir : prepared.
    text_file : file of the data dir with the sentences.

    Raises
    ------
    UserError : what is wrong with the data.
    """
    if reads == "audio":
        return AudioSource(data_dir)
    kind = {"text": TextSource, "audio+text": AudioTextSource}[reads]
    return kind(data_dir, text_file)


def _require_same_ids(path: Path, file: str, found: set[str], expected: set[str]) -> None:
    problems = []
    if lost := expected - found:
        problems.append(f"{path / file}: no sentence for {named(lost)} of wav.scp; add it")
    if extra := found - expected:
        problems.append(f"{path / file}: {named(extra)} not in wav.scp; remove it here")
    if problems:
        raise UserError(problems)


def _for_all(
    function: Callable[[str], Any], utterances: Iterable[str], doing: str
) -> dict[str, Any]:
    """Call a function that mostly reads files for each utterance, in threads."""
    names = list(utterances)
    with ThreadPoolExecutor(_READERS) as pool:
        results = Bar(pool.map(function, names), doing, len(names), leave=False, delay=2)
        return dict(zip(names, results, strict=True))
