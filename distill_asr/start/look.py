"""Inspection of every recording of the sources: its format, oddities, and faults."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill_asr.data.normalise import TranscriptRule, plain_blanks
from distill_asr.data.sources import OVERSHOOT, AudioLocation, read_source
from distill_asr.data.tokens import RESERVED
from distill_asr.errors import Problems
from distill_asr.io.audio import MIX, AudioFacts, BadAudioError
from distill_asr.io.parallel import parallel_map
from distill_asr.io.tables import named_character
from distill_asr.start.contract import Clip
from distill_asr.start.names import path_problem

_SILENT = 10 ** (-60 / 20)  # root mean square under which a recording counts as silent
FULL = 0.999  # of full scale; samples at it are clipped ...
CLIPPED = 0.001  # ... where they are this share of all
_LONGEST, _SHORTEST = 30.0, 0.1  # seconds: what `prepare` keeps for training


@dataclass(frozen=True)
class Recording:
    """One file, archive entry or command's output; ``digest`` is of its samples."""

    facts: AudioFacts
    digest: str
    silent: bool
    clipped: bool


@dataclass(frozen=True)
class Seen:
    """A clip whose audio can be used, and its length."""

    clip: Clip
    recording: Recording
    seconds: float


def look_at(
    clips: Sequence[Clip],
    rule: TranscriptRule | None,
    nj: int,
    problems: Problems,
    allow_pipes: bool = False,
    here: str = "",
) -> list[Seen]:
    """The clips that can be used; everything wrong with the others is added to ``problems``.

    Parameters
    ----------
    rule : what will happen to transcripts; one that leaves no words is a problem.
    nj : processes.
    allow_pipes : commands may run.
    here : put before relative paths, which are seen from the recipe.
    """
    usable = [clip for clip in clips if _can_be_listed(clip, rule, allow_pipes, problems)]
    locations = list(dict.fromkeys(clip.audio.location for clip in usable))
    places = [one if _absolute(one) else f"{here}/{one}" for one in locations]
    found = dict(zip(locations, parallel_map(look, places, nj, "looking at audio"), strict=True))
    users = Counter(clip.audio.location for clip in usable)
    for location, one in found.items():
        if isinstance(one, BadAudioError):
            also = f" ({users[location]} utterances)" if users[location] > 1 else ""
            problems.add(one.kind, f"{location}{also}: {one.detail}")
    seen = []
    for clip in usable:
        one = found[clip.audio.location]
        if isinstance(one, Recording) and (seconds := _seconds(clip, one, problems)) is not None:
            seen.append(Seen(clip, one, seconds))
    return seen


def look(location: str) -> Recording | BadAudioError:
    """Read a whole recording."""
    try:
        samples, facts = read_source(AudioLocation(location), MIX)
    except BadAudioError as bad:
        return bad
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    full = float(np.mean(np.abs(samples) >= FULL))
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    return Recording(facts, digest, level < _SILENT, full > CLIPPED)


def without_copies(seen: Sequence[Seen], problems: Problems) -> tuple[list[Seen], int]:
    """Each piece of audio once; the same audio with two transcripts is a problem.

    Parameters
    ----------
    seen : utterances; of copies the first with a text stays.
    problems : gets what has several texts.

    Returns
    -------
    What stays, and how many copies went.
    """
    same: dict[tuple, list[Seen]] = defaultdict(list)
    for one in seen:
        audio = one.clip.audio
        same[one.recording.digest, audio.start, audio.end].append(one)
    kept, copies = [], 0
    for group in same.values():
        texts = {plain_blanks(one.clip.text) for one in group if one.clip.text is not None}
        if len(texts) > 1:
            places = " and ".join(one.clip.where for one in group[:2])
            message = f"{places}: the same audio, {len(texts)} different texts; keep one"
            problems.add("contradictory duplicates", message)
            continue
        group.sort(key=lambda one: one.clip.text is None)  # stable: the first with a text
        kept.append(group[0])
        copies += len(group) - 1
    return kept, copies


def oddities(seen: Sequence[Seen]) -> list[str]:
    """What is odd and yet usable, a line a kind, with an example."""
    kinds: dict[str, list[Seen]] = defaultdict(list)
    out = "`prepare` leaves these out of training"
    for one in seen:
        facts = one.recording.facts
        if one.recording.silent:
            kinds["are silent (under -60 dB)"].append(one)
        if one.recording.clipped:
            kinds["are clipped"].append(one)
        if facts.channels > 1:
            kinds["have several channels"].append(one)
        if one.seconds > _LONGEST:
            kinds[f"last over {_LONGEST:g} s ({out})"].append(one)
        if one.seconds < _SHORTEST:
            kinds[f"last under {_SHORTEST:g} s ({out})"].append(one)
        if facts.rate < 16000:
            kinds[f"have {facts.rate} Hz, less than the 16 kHz that teachers read"].append(one)
    return [
        f"{len(found)} of {len(seen)} recordings {kind}, such as {found[0].clip.where}"
        for kind, found in kinds.items()
    ]


def text_problem(text: str, rule: TranscriptRule | None) -> str | None:
    """Why a transcript cannot be learnt from, None where it can.

    Parameters
    ----------
    text : the transcript.
    rule : how ``prepare`` will change it; None leaves it.
    """
    for c in text:
        if unicodedata.category(c) == "Cc" and not c.isspace():
            return f"{named_character(c)} in the text; remove it"
    words = plain_blanks(text if rule is None else rule(text)).split()
    if not words:
        return f"no words are left of {text!r}"
    if reserved := next((word for word in words if word in RESERVED), None):
        return f"{reserved} is a symbol of token lists and cannot be a word"
    return None


def _can_be_listed(
    clip: Clip, rule: TranscriptRule | None, allow_pipes: bool, problems: Problems
) -> bool:
    audio = clip.audio
    of_kaldi = clip.kaldi and (audio.is_command or audio.file != audio.location)
    reason = None if of_kaldi else path_problem(audio.location)
    if reason is not None:
        problems.add("bad file name", f"{audio.location!r}: {reason}; rename it")
        return False
    if audio.is_command and not allow_pipes:
        message = f"{clip.where}: {audio.location!r} is a command; --allow-pipes runs it"
        problems.add("pipe", message)
        return False
    reason = None if clip.text is None else text_problem(clip.text, rule)
    if reason is not None:
        problems.add("bad text", f"{clip.where}: {reason}")
    return reason is None


def _seconds(clip: Clip, recording: Recording, problems: Problems) -> float | None:
    total, audio = recording.facts.seconds, clip.audio
    end = total if audio.end is None else audio.end
    if end > total + OVERSHOOT or audio.start >= total:
        message = f"{clip.where}: {audio.start:g} to {end:g} s of a recording of {total:.3f} s"
        problems.add("bad segment", message)
        return None
    return max(0.0, min(end, total) - audio.start) or math.ulp(1.0)


def _absolute(location: str) -> bool:
    return location.startswith("/") or AudioLocation(location).is_command
