"""A checked data directory whose audio has one sampling rate, one file an utterance.

Audio that is fine stays where it is; the rest is written as 16-bit wav below the new directory. An
interrupted preparation is continued by the same call, and one that is finished is not done again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import soundfile

from distill_asr.data.conversions import (
    Conversion,
    add_to_journal,
    read_journal,
    still_there,
    tidy_journal,
    write_wav,
)
from distill_asr.data.datadir import (
    DataDir,
    check_tables,
    id_problem,
    read_raw_tables,
    report_audio,
)
from distill_asr.data.normalise import TranscriptRule, plain_blanks
from distill_asr.data.overlap import check_overlap
from distill_asr.data.record import (
    AUDIO,
    FILTERED,
    ORIGINAL,
    RECORD,
    TABLES,
    altered_tables,
    prepared_audio_identity,
    vouched_files,
)
from distill_asr.data.sources import AudioLocation, read_segments, read_source
from distill_asr.data.tokens import RESERVED
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import AudioFacts, BadAudioError, resample
from distill_asr.io.files import write_text_atomic
from distill_asr.io.identity import CACHE
from distill_asr.io.locks import locked
from distill_asr.io.parallel import parallel_map
from distill_asr.io.records import read_record, write_record
from distill_asr.io.tables import collect_table

FILES = (*TABLES, RECORD)
KEPT_FORMATS = ("WAV", "FLAC")


@dataclass(frozen=True)
class PrepareOptions:
    """How a data directory is prepared.

    Parameters
    ----------
    sampling_rate : Hz.
    min_duration, max_duration : seconds, both allowed; utterances outside are left out and named
        in ``filtered``. 0 and infinity: none is, as for every set that is scored.
    channel : number of the channel to take, from 0; ``mix`` for the mean; None for the only one.
    allow_pipes : run the commands in wav.scp.
    rule : what happens to transcripts; utterances it leaves without words are left out.
    nj : worker processes.
    """

    sampling_rate: int = 16000
    min_duration: float = 0.1
    max_duration: float = 30.0
    channel: int | str | None = None
    allow_pipes: bool = False
    rule: TranscriptRule | None = None
    nj: int = 1

    def problems(self) -> list[str]:
        """List what is wrong with them, in the words of the command line."""
        found = []
        if self.sampling_rate <= 0:
            found.append(f"--fs {self.sampling_rate}: expected a positive number of Hz")
        if self.nj < 1:
            found.append(f"--nj {self.nj}: expected at least 1")
        if not 0 <= self.min_duration <= self.max_duration:
            found.append(
                f"--min-duration {self.min_duration} --max-duration {self.max_duration}: expected "
                "0 <= min <= max"
            )
        return found

    def reason(self, seconds: float) -> str | None:
        """Why an utterance is left out, None where it is not."""
        if seconds < self.min_duration:
            return f"under {self.min_duration} s"
        if seconds > self.max_duration:
            return f"over {self.max_duration} s"
        return None

    def settings(self) -> dict[str, object]:
        """What the result depends on, for the record; options that are not used are left away."""
        kept = asdict(self)
        for name in ("nj", "allow_pipes", "rule"):
            kept.pop(name)
        if self.channel is None:
            kept.pop("channel")
        return kept


@dataclass(frozen=True)
class Prepared:
    """One utterance's audio as the new directory refers to it."""

    path: str
    facts: AudioFacts  # of the source
    frames: int  # of the audio at ``path``
    clipped: bool


def prepare(source: Path, target: Path, options: PrepareOptions | None = None) -> dict[str, Any]:
    """Validate a data directory, bring its audio to one rate, write its tables elsewhere.

    Parameters
    ----------
    source : the data directory.
    target : the prepared directory; it may be there from an earlier call.
    options : the rate and the like; defaults where not given.

    Returns
    -------
    The record that is also written to ``target/prepare.json``.

    Raises
    ------
    UserError : everything wrong with ``source`` in one report; no table is written then.
    """
    with locked(target, "preparing data"):
        return _prepare(source, target, options or PrepareOptions())


def read_sources(
    folder: Path, allow_pipes: bool, problems: Problems
) -> tuple[DataDir, dict[str, AudioLocation]]:
    """Tables of an unprepared data directory, and where the audio of each utterance is.

    ``wav`` of the tables names the file, archive or command of each utterance.

    Parameters
    ----------
    folder : the data directory.
    allow_pipes : commands in wav.scp are welcome.
    problems : gets everything that is wrong.

    Raises
    ------
    UserError : commands, and they are not welcome; the rest makes no sense then.
    """
    data = read_raw_tables(folder, problems)
    for problem in altered_tables(folder):  # it may be prepared itself
        problems.add("changed file", problem)
    commands = [key for key, value in data.wav.items() if AudioLocation(value).is_command]
    if commands and not allow_pipes:
        problems.add(
            "pipe",
            f"{folder / 'wav.scp'}: {len(commands)} of {len(data.wav)} entries are commands, such "
            f"as {commands[0]}: {data.wav[commands[0]]!r}; they are programs: run them with "
            "--allow-pipes if you trust whoever wrote the file",
        )
        problems.raise_if_any()  # the rest makes sense once they may run
    segments = folder / "segments"
    sources = {key: AudioLocation(value) for key, value in data.wav.items() if value}
    listed = set(data.wav)
    if segments.exists():
        sources = read_segments(segments, data.wav, problems)
        listed = set(collect_table(segments, Problems()) or {})
    data = replace(data, wav={key: one.location for key, one in sources.items()})
    check_tables(data, listed, problems, "segments" if segments.exists() else "wav.scp")
    # what has no place to be written to is not even read; it is in the report
    return data, {key: one for key, one in sources.items() if id_problem(key) is None}


def _prepare(source: Path, target: Path, options: PrepareOptions) -> dict[str, Any]:
    problems = Problems()
    data, sources = read_sources(source, options.allow_pipes, problems)
    texts, blanks = _transcripts(data, options.rule, problems)
    _check_overlap(source, target, sources)
    identities = _identities(sources, target)
    settings = {
        "source": str(source),
        **options.settings(),
        "fingerprint": _fingerprint(data, sources, identities),
    }
    if options.rule is not None:
        settings["transcripts"] = options.rule.settings()
    done = None if len(problems) else _finished(target, settings)
    if done is not None:
        return done
    results = _convert(sources, identities, target, options)
    facts = {key: one.facts if isinstance(one, Prepared) else one for key, one in results.items()}
    report_audio(data, facts, problems)
    problems.raise_if_any()
    good = {key: one for key, one in results.items() if isinstance(one, Prepared)}
    return _write(data, texts, blanks, good, target, options, settings)


def _check_overlap(source: Path, target: Path, sources: dict[str, AudioLocation]) -> None:
    """Raise UserError before anything is written where an output is an input."""
    problems = Problems()
    inputs = [source / name for name in (*FILES, "segments")]
    inputs += [Path(one.file) for one in sources.values() if one.file is not None]
    outputs = [target / name for name in FILES]
    outputs += [target / AUDIO / f"{key}.wav" for key in sources]
    check_overlap(inputs, outputs, problems)
    problems.raise_if_any()


def _transcripts(
    data: DataDir, rule: TranscriptRule | None, problems: Problems
) -> tuple[dict[str, str] | None, Counter[str]]:
    """Transcripts to write, and how many had each kind of blank but a single plain space."""
    if data.text is None:
        return None, Counter()
    texts: dict[str, str] = {}
    blanks: Counter[str] = Counter()
    for key, original in data.text.items():
        words = original if rule is None else rule(original)
        texts[key] = plain_blanks(words)
        if texts[key] != words:
            blanks.update({c for c in words if c not in texts[key]} or {" "})
        for word in texts[key].split():
            if word in RESERVED:
                problems.add(
                    "reserved word",
                    f"{data.path / 'text'}: {key}: {word} is a symbol of token lists and cannot be "
                    "a word; write another one, or leave it out",
                )
                break
    return texts, blanks


def _identities(sources: dict[str, AudioLocation], target: Path) -> dict[str, str]:
    """What each utterance's audio is: content, and the part of it; a command is its own words."""
    files = {key: one.location for key, one in sources.items() if not one.is_command}
    present = {key: path for key, path in files.items() if os.path.isfile(sources[key].file or "")}
    digests = prepared_audio_identity(present, target / CACHE)
    parts = {}
    for key, one in sources.items():
        content = digests.get(key, one.location)  # what is missing is reported when it is read
        parts[key] = repr((content, one.start, one.end))
    return parts


def _convert(
    sources: dict[str, AudioLocation],
    identities: dict[str, str],
    target: Path,
    options: PrepareOptions,
) -> dict[str, Prepared | BadAudioError]:
    known = read_journal(target / AUDIO)
    work = partial(_prepare_one, target / AUDIO, options)
    items = [(key, one, identities[key], known.get(key)) for key, one in sources.items()]
    results = parallel_map(work, items, options.nj, f"prepare {target.name}")
    return dict(zip(sources, results, strict=True))


def _prepare_one(
    folder: Path,
    options: PrepareOptions,
    item: tuple[str, AudioLocation, str, Conversion | None],
) -> Prepared | BadAudioError:
    key, source, identity, known = item
    output, rate = folder / f"{key}.wav", options.sampling_rate
    identity = repr((identity, rate, options.channel))
    if known and not source.is_command and still_there(output, known, identity):
        return Prepared(str(output), known.facts, known.frames, known.clipped)
    try:
        read, facts = read_source(source, options.channel)
    except BadAudioError as bad:
        return bad
    fine = source.is_file and facts.rate == rate and facts.channels == 1
    if (fine and _is_plain(source.location, facts)) or options.reason(facts.seconds):
        return Prepared(source.location, facts, facts.frames, False)
    samples = resample(read, facts.rate, rate)
    frames, clipped, sha256 = write_wav(output, samples, rate)
    add_to_journal(folder, Conversion(key, identity, facts, frames, clipped, sha256))
    return Prepared(str(output), facts, frames, clipped)


def _is_plain(path: str, facts: AudioFacts) -> bool:
    """Whether every program reads the file as it was read here, its length included."""
    if facts.format not in KEPT_FORMATS:
        return False
    try:
        return soundfile.info(path).frames == facts.frames
    except soundfile.LibsndfileError:
        return False


def _write(
    data: DataDir,
    texts: dict[str, str] | None,
    blanks: Counter[str],
    results: dict[str, Prepared],
    target: Path,
    options: PrepareOptions,
    settings: dict[str, object],
) -> dict[str, Any]:
    kept, filtered = _filter(results, texts, options)
    if not kept:
        raise UserError(
            f"{data.path}: all {len(results)} utterances are shorter than {options.min_duration} s "
            f"or longer than {options.max_duration} s, or have no words; change --min-duration or "
            "--max-duration"
        )
    chosen = [results[key] for key in kept]
    converted = [one for key, one in results.items() if one.path != data.wav[key]]
    record = {
        "utterances": len(kept),
        "hours": round(sum(one.frames for one in chosen) / options.sampling_rate / 3600, 6),
        "converted": len(converted),
        "clipped": sum(one.clipped for one in chosen),
        "filtered": len(filtered),
        "blanks": {f"U+{ord(c):04X}": count for c, count in sorted(blanks.items())},
        "settings": settings,
    }
    prepared = replace(
        data,
        wav={key: one.path for key, one in results.items()},
        text=texts,
        num_samples={key: one.frames for key, one in results.items()},
    ).select(kept)
    write_text_atomic(target / RECORD, "")  # from here on the tables may be old and new
    write_text_atomic(target / FILTERED, "".join(f"{line}\n" for line in filtered))
    _write_original(None if options.rule is None else data.text, kept, target / ORIGINAL)
    tidy_journal(target / AUDIO, {key for key, one in results.items() if one.path != data.wav[key]})
    prepared.write(target)
    # last: a finished directory has it
    record["files"] = vouched_files(target)
    write_record(target / RECORD, record)
    return record


def _write_original(original: dict[str, str] | None, kept: list[str], path: Path) -> None:
    if original is None:
        path.unlink(missing_ok=True)
    else:
        write_text_atomic(path, "".join(f"{key} {original[key]}\n" for key in kept))


def _filter(
    results: dict[str, Prepared], texts: dict[str, str] | None, options: PrepareOptions
) -> tuple[list[str], list[str]]:
    kept, filtered = [], []
    for key, one in results.items():
        reason = options.reason(one.facts.seconds)
        if reason is None and texts is not None and not texts[key]:
            reason = "no words left by --normalise"
        if reason is None:
            kept.append(key)
        else:
            filtered.append(f"{key} {one.facts.seconds:.3f} {reason}")
    return kept, filtered


def _fingerprint(
    data: DataDir, sources: dict[str, AudioLocation], identities: dict[str, str]
) -> str:
    """Changes with any table entry and with the content of any audio file."""
    digest = hashlib.sha256()
    for key, one in sources.items():
        words = None if data.text is None else data.text.get(key)
        digest.update(
            repr((key, one.location, identities[key], words, data.utt2spk.get(key))).encode()
        )
    return digest.hexdigest()


def _finished(target: Path, settings: dict[str, object]) -> dict[str, Any] | None:
    """The record of the same preparation; a damaged one counts as none."""
    try:
        record = read_record(target / RECORD)
        return record if record["settings"] == settings and _complete(target, record) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _complete(target: Path, record: dict[str, Any]) -> bool:
    """Whether what a record promises is still there."""
    problems = Problems()
    data = read_raw_tables(target, problems)
    if len(problems) or altered_tables(target) or len(data.wav) != record["utterances"]:
        return False
    try:
        prepared_audio_identity(data.wav, target / CACHE)
    except UserError:
        return False
    return True
