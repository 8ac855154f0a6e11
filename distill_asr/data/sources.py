"""Audio of unprepared data: files, parts of recordings, Kaldi's archives, commands' output."""

from __future__ import annotations

import functools
import io
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill_asr.errors import Problems
from distill_asr.io.audio import (
    ARCHIVED,
    AudioFacts,
    BadAudioError,
    decode_audio,
    read_audio,
)
from distill_asr.io.tables import collect_table

OVERSHOOT = 0.5  # seconds that a segment may end behind its recording; Kaldi's default
_MARK = b"AUDIO"  # kaldiio's: a length, then a file of any format
_SHELL = set("();<>|&")  # what shlex keeps apart as operators


@dataclass(frozen=True)
class AudioLocation:
    """The audio of one utterance.

    Parameters
    ----------
    location : a path, ``archive.ark:offset``, or a command that ends with ``|``.
    start, end : seconds, of a part of it; an ``end`` of None is the recording's.
    """

    location: str
    start: float = 0.0
    end: float | None = None

    @property
    def is_command(self) -> bool:
        """Whether it is a program's output."""
        return is_command(self.location)

    @property
    def is_file(self) -> bool:
        """Whether it is a whole file that can stay where it is."""
        whole = self.start == 0.0 and self.end is None
        return whole and not self.is_command and ARCHIVED.fullmatch(self.location) is None

    @property
    def file(self) -> str | None:
        """The file that it is read from; None for a command."""
        if self.is_command:
            return None
        archive = ARCHIVED.fullmatch(self.location)
        return archive[1] if archive else self.location


def is_command(location: str) -> bool:
    """Whether a value of wav.scp is a command."""
    return location.endswith("|") or location.startswith("|")


def read_segments(
    path: Path, recordings: dict[str, str], problems: Problems
) -> dict[str, AudioLocation]:
    """Utterances of Kaldi's ``segments``: ``utterance recording start end``, in seconds.

    Parameters
    ----------
    path : the file ``segments``.
    recordings : wav.scp.
    problems : gets the lines that cannot be used.
    """
    sources = {}
    for key, value in (collect_table(path, problems) or {}).items():
        words = value.split()
        where = f"{path}: {key}"
        try:
            recording, (start, end) = words[0], map(float, words[1:])
        except (ValueError, IndexError):
            problems.add("bad segment", f"{where}: expected RECORDING START END, found {value!r}")
            continue
        if not (0 <= start < end < float("inf") or (0 <= start < float("inf") and end == -1)):
            problems.add("bad segment", f"{where}: expected 0 <= start < end, found {value!r}")
        elif recording not in recordings:
            problems.add(
                "bad segment",
                f"{where}: recording {recording} is not in wav.scp; add it, or remove the line",
            )
        else:
            sources[key] = AudioLocation(recordings[recording], start, None if end == -1 else end)
    return sources


def read_source(source: AudioLocation, channel: int | str | None) -> tuple[np.ndarray, AudioFacts]:
    """Samples float32 ``[N]`` and facts of one utterance; see ``read_audio``.

    Parameters
    ----------
    source : a file, a command or a part of a recording.
    channel : which one, from 0, ``mix`` for the mean, or None where there is one only.

    Raises
    ------
    BadAudioError : also a command that fails, and a segment behind the recording's end.
    """
    if source.is_file:
        return read_audio(source.location, channel)
    samples, facts = _recording(source.location, channel)
    if source.start == 0.0 and source.end is None:
        return samples, facts
    if source.end is not None and source.end > facts.seconds + OVERSHOOT:
        raise BadAudioError(
            "bad segment", f"ends at {source.end:g} s, the recording at {facts.seconds:.3f} s"
        )
    first = int(source.start * facts.rate)
    last = None if source.end is None else int(source.end * facts.rate)
    part = samples[first:last]
    if not len(part):
        raise BadAudioError("bad segment", f"starts at {source.start:g} s, behind the recording")
    return part, AudioFacts(len(part), facts.rate, facts.channels, facts.format, facts.subtype)


@functools.lru_cache(maxsize=1)  # segments of a recording come one after the other
def _recording(location: str, channel: int | str | None) -> tuple[np.ndarray, AudioFacts]:
    if is_command(location):
        return decode_audio(io.BytesIO(_output(location)), channel)
    archive = ARCHIVED.fullmatch(location)
    if archive is None:
        return read_audio(location, channel)
    return decode_audio(io.BytesIO(_archived(Path(archive[1]), int(archive[2]))), channel)


def _archived(path: Path, offset: int) -> bytes:
    """The audio file that lies in an archive."""
    try:
        with open(path, "rb") as stream:
            stream.seek(offset)
            head = stream.read(len(_MARK))
            if head == _MARK:
                width = stream.read(1)[0]
                size = int.from_bytes(stream.read(width), "little")
                content = stream.read(size)
                if len(content) < size:
                    raise BadAudioError(
                        "truncated audio", f"{size} bytes declared, {len(content)} are there"
                    )
                return content
            head += stream.read(7)
            if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
                size = int.from_bytes(head[4:8], "little") + 8
                return head + stream.read(size - len(head))
    except FileNotFoundError as error:
        raise BadAudioError("missing audio", f"{path}: no such archive") from error
    except (OSError, IndexError) as error:
        raise BadAudioError("unreadable audio", f"{path}: {error}") from error
    raise BadAudioError(
        "unreadable audio",
        f"no wav, and no audio that kaldiio or ESPnet wrote, at byte {offset} of {path} "
        f"(found {head[:4]!r})",
    )


def _output(command: str) -> bytes:
    """What a command of wav.scp writes; its parts are started without a shell."""
    processes: list[subprocess.Popen] = []
    pipeline = list(_pipeline(command))
    try:
        for words in pipeline:
            before = processes[-1].stdout if processes else subprocess.DEVNULL
            processes.append(
                subprocess.Popen(
                    words, stdin=before, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            )
        output, _ = processes[-1].communicate()
    except OSError as error:
        raise BadAudioError("command failed", f"{error.filename}: {error.strerror}") from error
    finally:
        for one in processes[:-1]:
            if one.stdout:
                one.stdout.close()  # so that it ends when the next one has
            one.wait()
    for words, one in zip(pipeline, processes, strict=True):
        unread = one is not processes[-1] and one.returncode == -signal.SIGPIPE
        if one.returncode and not unread:
            raise BadAudioError(
                "command failed",
                f"{shlex.join(words)}: exit code {one.returncode}; run it by hand to see why",
            )
    if not output:
        raise BadAudioError("empty audio", "the command wrote nothing")
    return output


def _pipeline(command: str) -> list[list[str]]:
    """Commands that feed each other, each a list of words."""
    lexer = shlex.shlex(command.strip().removesuffix("|"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word == "|":
                parts.append([])
            elif set(word) <= _SHELL or "`" in word or "$(" in word:
                raise BadAudioError(
                    "command failed", f"{word!r}: no shell runs the command; only `|` is understood"
                )
            else:
                parts[-1].append(word)
    except ValueError as error:
        raise BadAudioError("command failed", f"{command!r}: {error}") from error
    if not all(parts):
        raise BadAudioError("command failed", f"{command!r}: a command is missing at `|`")
    return parts
