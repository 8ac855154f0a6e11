"""Data directories of a recipe as text: tables that refer to audio where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill_asr.data.normalise import plain_blanks
from distill_asr.start.look import Seen
from distill_asr.start.names import plain_name, unique_names

_WHOLE = -1  # Kaldi's end of a segment that is the recording's


@dataclass(frozen=True)
class Named:
    """An utterance of a set, with its id and its speaker's."""

    key: str
    speaker: str
    seen: Seen


def named_sets(sets: Mapping[str, Sequence[Seen]], known_speakers: bool) -> dict[str, list[Named]]:
    """Ids for the utterances of all sets: none occurs twice, and each begins with its speaker.

    Parameters
    ----------
    sets : utterances by name of the set.
    known_speakers : the sources name them; otherwise each utterance is its own speaker.
    """
    rows = [(name, one) for name, members in sets.items() for one in members]
    ids = unique_names([(one.clip.name, one.clip.where) for _, one in rows])
    named: dict[str, list[Named]] = {name: [] for name in sets}
    for (name, one), key in zip(rows, ids, strict=True):
        speaker = plain_name(one.clip.speaker) if one.clip.speaker and known_speakers else ""
        if speaker and not key.startswith(speaker):
            key = f"{speaker}-{key}"
        named[name].append(Named(key, speaker or key, one))
    return {name: sorted(members, key=lambda one: one.key) for name, members in named.items()}


def set_tables(members: Sequence[Named], labelled: bool) -> dict[str, str]:
    """``wav.scp``, ``utt2spk``, ``spk2utt``, ``utt2dur``; ``text``, ``segments`` where needed.

    Parameters
    ----------
    members : of the set, sorted by id.
    labelled : write ``text``.
    """
    speakers: dict[str, list[str]] = {}
    for one in members:
        speakers.setdefault(one.speaker, []).append(one.key)
    tables = {
        "utt2spk": [(one.key, one.speaker) for one in members],
        "spk2utt": [(name, " ".join(keys)) for name, keys in sorted(speakers.items())],
        "utt2dur": [(one.key, f"{one.seen.seconds:.3f}") for one in members],
        **_audio_tables(members),
    }
    if labelled:
        tables["text"] = [(one.key, plain_blanks(one.seen.clip.text or "")) for one in members]
    return {
        name: "".join(f"{key} {value}\n" for key, value in rows) for name, rows in tables.items()
    }


def _audio_tables(members: Sequence[Named]) -> dict[str, list[tuple[str, str]]]:
    clips = [(one.key, one.seen.clip.audio) for one in members]
    if all(audio.start == 0 and audio.end is None for _, audio in clips):
        return {"wav.scp": [(key, audio.location) for key, audio in clips]}
    locations = sorted({audio.location for _, audio in clips})
    stems = [(one.rpartition("/")[2].rpartition(".")[0] or one, one) for one in locations]
    recordings = dict(zip(locations, unique_names(stems), strict=True))
    segments = []
    for key, audio in clips:
        end = f"{_WHOLE}" if audio.end is None else f"{audio.end:.6g}"
        segments.append((key, f"{recordings[audio.location]} {audio.start:.6g} {end}"))
    wav = sorted((name, location) for location, name in recordings.items())
    return {"wav.scp": wav, "segments": segments}
