"""Audio of the players: inside the page, or as paths beside it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from distill_asr.data.sources import AudioLocation, is_command, read_source
from distill_asr.errors import UserError
from distill_asr.io.audio import MIX, BadAudioError
from distill_asr.io.progress import Bar
from distill_asr.io.tables import read_table
from distill_asr.report.utterances import SAMPLING_RATE, SetView

EMBED, LINK, _NONE = "embed", "link", "none"
BYTES = 2  # a sample
FRAME, _FEWEST = 320, 20  # samples of 20 ms, and how many of these separate loud from quiet


@dataclass(frozen=True)
class Sound:
    """One utterance: what its player plays, and how far its speech is above its silence.

    Parameters
    ----------
    source : a ``data:`` address, or a path relative to the page.
    contrast : dB between the loud and the quiet tenth of its frames; None where it was not read.
    """

    source: str
    contrast: float | None = None


def sounds(
    dump: Path, sets: Sequence[SetView], page: Path, how: str | None, most: float, notes: list[str]
) -> dict[str, list[Sound | None]]:
    """The players' sounds by test set, in the order of its utterances.

    Parameters
    ----------
    dump : with the prepared sets.
    sets : of the page.
    page : where the page will lie; paths are relative to its folder.
    how : ``embed``, ``link``, ``none``; None embeds what fits.
    most : megabytes of samples that are embedded at most.
    notes : gets a line where audio is linked since it does not fit.

    Raises
    ------
    UserError : a set without ``wav.scp``; audio to be embedded that cannot be read; with
        ``embed``, more audio than fits.
    """
    if how == _NONE:
        return {one.name: [None] * len(one.utterances) for one in sets}
    seconds = sum(filter(None, (length for one in sets for length in one.seconds)))
    size = seconds * SAMPLING_RATE * BYTES / 1e6
    if size > most:
        told = f"{size:.0f} MB of audio, more than the {most:.0f} MB of --audio-mb"
        if how == EMBED:
            raise UserError(f"--audio embed: {told}; raise it, or link the audio")
        if how is None:
            notes.append(f"Audio is linked, not embedded: {told}. Keep the page where it is.")
        how = LINK
    found = {}
    for one in sets:
        wav = read_table(dump / one.name / "wav.scp")
        found[one.name] = _of_set(one, wav, dump.parent, page.parent, how or EMBED)
    return found


def audio_files(dump: Path, one: SetView, indices: Sequence[int]) -> list[tuple[str, str]]:
    """Some utterances of a set with their files; those without a file of their own are left out.

    Parameters
    ----------
    dump : with the prepared sets.
    one : the set.
    indices : places of the utterances in it.
    """
    wav, files = read_table(dump / one.name / "wav.scp"), []
    for index in indices:
        location = wav.get(one.utterances[index])
        if location is not None and not is_command(location):
            source = _found(location, dump.parent)
            if source.is_file:
                files.append((one.utterances[index], source.location))
    return files


def contrast(samples: np.ndarray) -> float | None:
    """How far loud frames are above quiet ones in dB: little of it is noise. Of ``[N]`` samples."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    if len(frames) < _FEWEST:
        return None
    energy = np.square(frames.astype(np.float64)).mean(1) + 1e-10
    quiet, loud = np.quantile(energy, [0.1, 0.9])
    return round(float(10 * np.log10(loud / quiet)), 1)


def _of_set(
    one: SetView, wav: Mapping[str, str], folder: Path, beside: Path, how: str
) -> list[Sound | None]:
    problems: list[str] = []
    found: list[Sound | None] = []
    for utterance in Bar(one.utterances, desc=f"audio of {one.name}", unit="utt", disable=None):
        try:
            found.append(_sound(wav.get(utterance), folder, beside, how))
        except (BadAudioError, OSError) as error:
            problems.append(f"{utterance}: {wav[utterance]}: {error}; or give --audio none")
    if problems:
        raise UserError(problems)
    return found


def _found(location: str, folder: Path) -> AudioLocation:
    source = AudioLocation(location)
    if source.is_file and not Path(location).is_file():
        return AudioLocation(str(folder / location))  # named from the recipe's folder
    return source


def _sound(location: str | None, folder: Path, beside: Path, how: str) -> Sound | None:
    if location is None or is_command(location):
        return None  # commands of others' data are not run for a picture of it
    source = _found(location, folder)
    if how == LINK:
        if not source.is_file:
            return None  # a part of an archive
        return Sound(quote(os.path.relpath(Path(source.location).resolve(), beside.resolve())))
    samples, facts = read_source(source, MIX)
    stream = io.BytesIO()
    soundfile.write(stream, samples, facts.rate, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return Sound(f"data:audio/flac;base64,{data}", contrast(samples))
