"""Audio that was converted before: which source each file of a directory was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from distill_asr.io.audio import AudioFacts
from distill_asr.io.checksum import file_sha256
from distill_asr.io.files import atomic_write, write_text_atomic

JOURNAL = ".converted"  # a line of JSON a conversion, appended by every worker
_FULL_SCALE = 32767


@dataclass(frozen=True)
class Conversion:
    """One conversion.

    Parameters
    ----------
    identity : everything that decides the samples: content of the source, part, rate, channel.
    facts : of the source.
    frames : of the file that was written.
    sha256 : of that file.
    """

    utterance: str
    identity: str
    facts: AudioFacts
    frames: int
    clipped: bool
    sha256: str


def read_journal(folder: Path) -> dict[str, Conversion]:
    """Conversions into a folder by utterance, the last of each; damaged lines count as none.

    A line is appended after the file was put into its place, so a kill between the two costs one
    conversion; the checksum shows a file that was replaced after its line.
    """
    entries: dict[str, Conversion] = {}
    try:
        lines = (folder / JOURNAL).read_bytes().split(b"\n")
    except FileNotFoundError:
        return entries
    for line in lines:
        try:
            content = json.loads(line)
            one = Conversion(**content | {"facts": AudioFacts(**content["facts"])})
        except (ValueError, TypeError, KeyError):
            continue
        entries[one.utterance] = one
    return entries


def add_to_journal(folder: Path, conversion: Conversion) -> None:
    """Append a conversion whose file is in its place; safe from several processes.

    Parameters
    ----------
    folder : holds the converted audio and the journal.
    conversion : what the file was made from.
    """
    # a line feed first, since a cut journal may end within a line
    line = f"\n{json.dumps(asdict(conversion))}\n".encode()
    handle = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def tidy_journal(folder: Path, utterances: Collection[str]) -> None:
    """Keep one line an utterance, sorted, and none of others; nothing where nothing changes.

    Parameters
    ----------
    folder : holds the journal.
    utterances : ids to keep.
    """
    entries = read_journal(folder)
    lines = [json.dumps(asdict(entries[key])) for key in sorted(entries.keys() & set(utterances))]
    content = "".join(f"{line}\n" for line in lines)
    if entries and content.encode() != (folder / JOURNAL).read_bytes():
        write_text_atomic(folder / JOURNAL, content)


def still_there(path: Path, known: Conversion | None, identity: str) -> bool:
    """Whether a file is what was made from this very audio.

    Parameters
    ----------
    path : the converted file.
    known : its line of the journal; None where it has none.
    identity : of the audio and of how it is converted.
    """
    if known is None or known.identity != identity:
        return False
    try:
        return file_sha256(path) == known.sha256
    except OSError:
        return False


def write_wav(path: Path, samples: np.ndarray, rate: int) -> tuple[int, bool, str]:
    """Write a 16-bit wav.

    Parameters
    ----------
    path : the file.
    samples : float [N]; what is beyond -1 or 1 is clipped.
    rate : Hz.

    Returns
    -------
    N, whether the loudest sample was clipped, and the file's SHA-256.
    """
    integers = np.round(np.clip(samples, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
    with atomic_write(path) as temporary:
        soundfile.write(temporary, integers, rate, format="WAV", subtype="PCM_16")
        sha256 = file_sha256(temporary)
    loudest = int(np.max(np.abs(integers.astype(np.int32)), initial=0))
    return len(integers), loudest >= _FULL_SCALE, sha256
