"""Kaldi-style data directories: read, validate with one report of everything, subset, write."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill_asr.data.normalise import plain_blanks
from distill_asr.data.record import altered_tables
from distill_asr.data.sources import is_command
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import AudioFacts, BadAudioError, read_audio
from distill_asr.io.files import write_text_atomic
from distill_asr.io.parallel import parallel_map
from distill_asr.io.tables import collect_table

LONGEST_ID = 230  # bytes: file systems allow names of 255, temporary ones are longer than the id


@dataclass(frozen=True)
class DataDir:
    """The tables of a data directory, keyed by utterance id and sorted by it.

    ``wav`` holds paths as written in wav.scp (relative to the working directory, or absolute),
    ``text`` is None for unlabelled audio, ``num_samples`` is None without utt2num_samples.
    """

    path: Path
    wav: dict[str, str]
    text: dict[str, str] | None
    utt2spk: dict[str, str]
    num_samples: dict[str, int] | None = None

    @classmethod
    def read(cls, path: str | os.PathLike) -> "DataDir":
        """Read the tables. Opens no audio.

        Raises
        ------
        UserError : everything wrong in them; or they are not as ``prepare`` wrote them.
        """
        problems = Problems()
        data = read_tables(Path(path), problems)
        for problem in altered_tables(Path(path)):
            problems.add("changed file", problem)
        problems.raise_if_any()
        return data

    def __len__(self) -> int:
        return len(self.wav)

    def select(self, utterances: Iterable[str]) -> "DataDir":
        """Only these utterances; an unknown one is a KeyError."""
        keys = sorted(set(utterances))
        return replace(
            self,
            wav={key: self.wav[key] for key in keys},
            text=None if self.text is None else {key: self.text[key] for key in keys},
            utt2spk={key: self.utt2spk[key] for key in keys},
            num_samples=self.num_samples and {key: self.num_samples[key] for key in keys},
        )

    def subset(
        self,
        utterances: int | None = None,
        seconds: float | None = None,
        seed: int = 0,
        sampling_rate: int = 16000,
    ) -> "DataDir":
        """A random part, by count or by duration; a larger one contains a smaller one.

        Parameters
        ----------
        utterances : how many; give this or ``seconds``.
        seconds : take utterances until this much is reached (needs utt2num_samples).
        seed : of the random order.
        sampling_rate : Hz, of ``num_samples``.

        Raises
        ------
        UserError : more is asked for than there is.
        """
        if (utterances is None) == (seconds is None):
            raise ValueError("give either utterances or seconds")
        keys = sorted(self.wav)
        order = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))]
        if utterances is None:
            utterances = self._reached(order, seconds, sampling_rate)
        if utterances > len(keys):
            raise UserError(
                f"{self.path}: asked for {utterances} utterances, but it has {len(keys)}"
            )
        return self.select(order[:utterances])

    def write(self, path: str | os.PathLike) -> None:
        """Write the tables, each atomically, wav.scp last."""
        folder = Path(path)
        keys = sorted(self.wav)
        speakers: dict[str, list[str]] = {}
        for key in keys:
            speakers.setdefault(self.utt2spk[key], []).append(key)
        tables = {"utt2spk": self.utt2spk, "text": self.text, "utt2num_samples": self.num_samples}
        for name, table in tables.items():
            if table is None:
                (folder / name).unlink(missing_ok=True)
            else:
                _write_table(folder / name, [(key, table[key]) for key in keys])
        by_speaker = [(name, " ".join(speakers[name])) for name in sorted(speakers)]
        _write_table(folder / "spk2utt", by_speaker)
        _write_table(folder / "wav.scp", [(key, self.wav[key]) for key in keys])

    def _reached(self, order: list[str], seconds: float, sampling_rate: int) -> int:
        if self.num_samples is None:
            raise UserError(
                f"{self.path} has no utt2num_samples, so its durations are unknown; "
                "run `distill-asr prepare` first"
            )
        total = np.cumsum([self.num_samples[key] for key in order]) / sampling_rate
        if not len(total) or total[-1] < seconds:
            found = total[-1] if len(total) else 0.0
            raise UserError(f"{self.path}: asked for {seconds} s, but it has {found:.1f} s")
        return int(np.searchsorted(total, seconds)) + 1


def validate(
    path: str | os.PathLike, sampling_rate: int | None = None, nj: int = 1
) -> tuple[DataDir, dict[str, AudioFacts]]:
    """Check a whole data directory, every sample of its audio included.

    Parameters
    ----------
    path : the data directory.
    sampling_rate : Hz; when given, other rates are reported.
    nj : worker processes for the audio.

    Returns
    -------
    The tables, and what each audio file is.

    Raises
    ------
    UserError : everything that is wrong, in one report.
    """
    problems = Problems()
    data = read_tables(Path(path), problems)
    checked = parallel_map(check_audio, list(data.wav.values()), nj, f"checking {path}")
    facts = dict(zip(data.wav, checked, strict=True))
    report_audio(data, facts, problems, sampling_rate)
    problems.raise_if_any()
    return data, facts


def check_audio(path: str) -> AudioFacts | BadAudioError:
    """What the file is, or what is wrong with it."""
    try:
        return read_audio(path)[1]
    except BadAudioError as bad:
        return bad


def report_audio(
    data: DataDir,
    facts: dict[str, AudioFacts | BadAudioError],
    problems: Problems,
    sampling_rate: int | None = None,
) -> None:
    """Add to ``problems`` what is wrong with the audio of a directory.

    Parameters
    ----------
    data : its tables.
    facts : of each utterance's audio, or why it cannot be used.
    problems : gets the messages.
    sampling_rate : Hz that all must have; None for any.
    """
    for key, found in facts.items():
        where = f"{data.path / 'wav.scp'}: {key}: {data.wav[key]}"
        if isinstance(found, BadAudioError):
            problems.add(found.kind, f"{where}: {found.detail}")
            continue
        declared = (data.num_samples or {}).get(key)
        if declared not in (None, -1, found.frames):
            problems.add(
                "wrong length",
                f"{where}: utt2num_samples declares {declared} samples, the file has "
                f"{found.frames}; remove utt2num_samples if it is outdated",
            )
        if sampling_rate is not None and found.rate != sampling_rate:
            problems.add(
                "wrong sampling rate",
                f"{where}: {found.rate} Hz, expected {sampling_rate} Hz; `distill-asr prepare` "
                "resamples it",
            )


def read_tables(folder: Path, problems: Problems) -> DataDir:
    """Read what can be read.

    Each entry of wav.scp must be a file: segments, archives and commands are for ``prepare``.

    Parameters
    ----------
    folder : the data directory.
    problems : gets everything that is wrong.
    """
    data = read_raw_tables(folder, problems)
    if (folder / "segments").exists():
        problems.add(
            "segments",
            f"{folder / 'segments'}: `distill-asr prepare` cuts the recordings, one audio file an "
            "utterance; this command needs its output",
        )
    for key, value in data.wav.items():
        if is_command(value):
            problems.add(
                "pipe",
                f"{folder / 'wav.scp'}: {key}: {value!r} is a command; commands are not run here, "
                "`distill-asr prepare --allow-pipes` runs them and writes files",
            )
    files = {key: value for key, value in data.wav.items() if value and not is_command(value)}
    check_tables(replace(data, wav=files), set(data.wav), problems)
    return replace(data, wav=files)


def read_raw_tables(folder: Path, problems: Problems) -> DataDir:
    """The tables one by one; ``check_tables`` compares them.

    An entry without a path, or with a wrong number (-1 then), is kept and is in ``problems``.

    Parameters
    ----------
    folder : the data directory.
    problems : gets everything that is wrong in a table by itself.
    """
    if not folder.is_dir():
        problems.add("missing directory", f"{folder}: no such data directory; correct the path")
        return DataDir(folder, {}, None, {})
    wav = collect_table(folder / "wav.scp", problems) or {}
    for key in (key for key, value in wav.items() if not value):
        problems.add(
            "missing path",
            f"{folder / 'wav.scp'}: {key}: no path after the id; add the path of its audio",
        )
    text = collect_table(folder / "text", problems, required=False)
    utt2spk = collect_table(folder / "utt2spk", problems) or {}
    lengths = collect_table(folder / "utt2num_samples", problems, required=False)
    num_samples = None if lengths is None else _numbers(folder, lengths, problems)
    return DataDir(folder, wav, text, utt2spk, num_samples)


def check_tables(
    data: DataDir, listed: set[str], problems: Problems, audio: str = "wav.scp"
) -> None:
    """Compare the tables with each other.

    Parameters
    ----------
    data : the tables.
    listed : utterances that have audio, also those whose audio cannot be used.
    problems : gets everything that is wrong.
    audio : the table that names the audio.
    """
    folder = data.path
    for key in sorted(listed):
        if reason := id_problem(key):
            problems.add("bad id", f"{folder / audio}: {key}: {reason}")
    tables = {"text": data.text, "utt2spk": data.utt2spk, "utt2num_samples": data.num_samples}
    for name, table in tables.items():
        if table and listed:  # an absent or empty file has its own message
            _check_keys(folder, (name, audio), set(table), listed, problems)
    _check_values(folder, data.text, data.utt2spk, problems)
    _check_spk2utt(folder, data.utt2spk, problems)


def id_problem(key: str) -> str | None:
    """Why an id cannot name a file, None where it can."""
    if "/" in key or key in (".", ".."):
        return "an id names files, so it must not have '/' nor be . or ..; rename it in all files"
    size = len(key.encode())
    if size > LONGEST_ID:
        return f"an id names files: expected at most {LONGEST_ID} bytes, found {size}; shorten it"
    return None


def _check_keys(
    folder: Path, names: tuple[str, str], keys: set[str], listed: set[str], problems: Problems
) -> None:
    name, audio = names
    for key in sorted(keys - listed):
        message = f"{folder / name}: {key} is not in {audio}; add its audio or remove the line"
        problems.add("unmatched id", message)
    for key in sorted(listed - keys):
        message = f"{folder / audio}: {key} is not in {name}; add a line there or remove this"
        problems.add("unmatched id", message)


def _check_values(
    folder: Path, text: dict[str, str] | None, utt2spk: dict[str, str], problems: Problems
) -> None:
    for key, words in (text or {}).items():
        if not plain_blanks(words):
            problems.add(
                "empty transcript",
                f"{folder / 'text'}: {key}: no words; remove the utterance from all files, or the "
                "file `text` if the whole set is unlabelled",
            )
    for key, speaker in utt2spk.items():
        if len(speaker.split()) != 1:
            message = (
                f"{folder / 'utt2spk'}: {key}: expected one speaker, found {speaker!r}; name one"
            )
            problems.add("bad speaker", message)


def _check_spk2utt(folder: Path, utt2spk: dict[str, str], problems: Problems) -> None:
    path = folder / "spk2utt"
    if not path.is_file():
        return  # it follows from utt2spk
    table = collect_table(path, problems) or {}
    inverse = {key: speaker for speaker, keys in table.items() for key in keys.split()}
    for key in sorted(utt2spk.keys() | inverse.keys()):
        here, there = utt2spk.get(key), inverse.get(key)
        if here != there:
            problems.add(
                "spk2utt",
                f"{path}: {key}: speaker {there or 'missing'}, in utt2spk {here or 'missing'}; "
                "remove spk2utt, it is made anew",
            )


def _numbers(folder: Path, table: dict[str, str], problems: Problems) -> dict[str, int]:
    numbers = {}
    for key, value in table.items():
        if value.isascii() and value.isdigit():
            numbers[key] = int(value)
        else:
            where = folder / "utt2num_samples"
            problems.add(
                "bad number", f"{where}: {key}: expected a count, found {value!r}; correct it"
            )
            numbers[key] = -1  # so that it does not count as missing as well
    return numbers


def _write_table(path: Path, rows: Iterable[tuple[str, object]]) -> None:
    write_text_atomic(path, "".join(f"{key} {value}\n" for key, value in rows))
