"""Sets of many languages by text alone: for one student of all of them, or one for each.

Most languages have one voice, so a test has the voices of training.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from distill_asr.corpora.human.clips import Clip
from distill_asr.corpora.human.sets import TRAIN, Division, Shares, Texts
from distill_asr.errors import UserError

DEV, TEST = "dev", "test"
_DEV_SHARE, _TEST_SHARE = 0.1, 0.2  # of the texts
LEAST = 2.0  # labelled minutes of a language
LONGEST = 0.5  # minutes of a recording: the window of Whisper


def divide_by_text(
    clips: Mapping[str, Clip],
    minutes: Mapping[str, float],
    languages: Sequence[str],
    shares: Shares,
    *,
    prefixed: bool,
    least: float = LEAST,
    seed: int = 0,
) -> Division:
    """Divide the labelled recordings of some languages, whoever speaks.

    A text and its translations (stamps, prompts of the same key) are in one set, in all languages.

    Parameters
    ----------
    clips : by utterance id; silent ones are not among them.
    minutes : of each.
    languages : codes, ``pt-BR`` or ``pt_BR``.
    shares : largest number of minutes of each set, in each language.
    least : fewest minutes of a language.
    prefixed : sets are ``<code>_train``, ``<code>_dev``, ``<code>_test``; else without the code.
    seed : decides which text goes where.

    Raises
    ------
    UserError : languages with too little labelled audio, all of them.
    """
    texts, most = Texts(clips), {TRAIN: shares.train, DEV: shares.dev, TEST: shares.test}
    division = Division()
    labelled: dict[str, list[str]] = defaultdict(list)
    asked = {spelled(language) for language in languages}
    for name, clip in clips.items():
        if texts.words[name] and minutes[name] > LONGEST:
            division.left_out["longer than 30 s"] += spelled(clip.language) in asked
        elif texts.words[name]:
            labelled[spelled(clip.language)].append(name)
    _require(languages, labelled, minutes, least)
    draws = {name: _draw(texts.group(name), seed) for names in labelled.values() for name in names}
    for language in languages:
        have = dict.fromkeys(most, 0.0)
        prefix = f"{language}_" if prefixed else ""
        division.sets |= {f"{prefix}{part}": [] for part in most}
        for name in sorted(labelled[spelled(language)], key=lambda one: (draws[one], one)):
            part = _part(draws[name])
            if have[part] >= most[part]:
                division.left_out["beyond the minutes that were asked for"] += 1
                continue
            division.sets[f"{prefix}{part}"].append(name)
            have[part] += minutes[name]
    if empty := [name for name, found in division.sets.items() if not found]:
        raise UserError(
            f"no recordings for {', '.join(empty)}: too few texts; leave the language out, or give "
            "another --seed"
        )
    division.sets = {name: sorted(found) for name, found in division.sets.items()}
    return division


def spelled(language: str) -> str:
    """A code as tags have it: ``pt_BR`` becomes ``pt-BR``."""
    return language.replace("_", "-")


def _require(
    languages: Sequence[str],
    labelled: Mapping[str, Sequence[str]],
    minutes: Mapping[str, float],
    least: float,
) -> None:
    """Every language once, with enough minutes."""
    have = {code: sum(minutes[name] for name in names) for code, names in labelled.items()}
    enough = sorted((code for code in have if have[code] >= least), key=lambda code: -have[code])
    there = ", ".join(f"{code} ({have[code]:.1f})" for code in enough) or "none"
    problems = [
        f"language {one!r}: {have.get(spelled(one), 0.0):.1f} minutes with a text, expected "
        f"{least:g} or more; languages that have them: {there}"
        for one in languages
        if have.get(spelled(one), 0.0) < least
    ]
    if len({spelled(one) for one in languages}) < len(languages):
        problems.append(f"languages {' '.join(languages)!r}: expected each one once")
    if problems:
        raise UserError(problems)


def _draw(group: str, seed: int) -> float:
    """Number in [0, 1) of a text."""
    digest = hashlib.sha256(f"{seed} {group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _part(draw: float) -> str:
    if draw < _DEV_SHARE:
        return DEV
    return TEST if draw < _DEV_SHARE + _TEST_SHARE else TRAIN
