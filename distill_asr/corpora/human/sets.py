"""Sets by text and by voice: no sentence in two sets, no voice of a test among the unlabelled.

A text is one however many people speak it, and in however many languages of a collection
(parallel stamps, prompts): all its recordings belong to one set or to none.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from distill_asr.corpora.human.clips import Clip
from distill_asr.errors import UserError

TRAIN, _DEV = "train", "dev"
READER, VOICES, CORPUS = "test_reader", "test_voices", "test_corpus"
UNLAB = "unlab"
LABELLED = (TRAIN, _DEV, READER, CORPUS, VOICES)


@dataclass(frozen=True)
class Shares:
    """Minutes of each set: of ``train`` at least, of ``dev`` and each test about."""

    train: float = 20.0
    dev: float = 3.0
    test: float = 10.0


@dataclass
class Division:
    """Utterances of each set, and what is in none of them, counted by reason."""

    sets: dict[str, list[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


class Texts:
    """Which recordings share a text: by its words, or by its key in a collection."""

    def __init__(self, clips: Mapping[str, Clip]) -> None:
        self._parent: dict[str, str] = {}
        self.words = {name: clip.words for name, clip in clips.items()}
        for name, clip in clips.items():
            self._join(name, f"key\t{clip.corpus}\t{clip.key}")
            if words := self.words[name]:
                self._join(name, f"words\t{clip.language}\t{words}")

    def group(self, name: str) -> str:
        """The name that represents all recordings of a text."""
        root = name
        while self._parent.setdefault(root, root) != root:
            root = self._parent[root]
        while self._parent[name] != root:  # the next look is shorter
            self._parent[name], name = root, self._parent[name]
        return root

    def _join(self, one: str, other: str) -> None:
        # the smaller name wins, so that the order of the clips does not matter
        first, second = sorted((self.group(one), self.group(other)))
        self._parent[second] = first


def divide(
    clips: Mapping[str, Clip],
    minutes: Mapping[str, float],
    languages: Sequence[str],
    shares: Shares,
    *,
    reader: str | None = None,
    other_languages: bool = True,
    seed: int = 0,
) -> Division:
    """Divide recordings.

    Parameters
    ----------
    clips : by utterance id; silent ones are not among them.
    minutes : of each.
    languages : that have labels.
    shares : minutes of each set, of a language.
    reader : the collection or voice whose recordings are ``train``, ``dev`` and ``test_reader``;
        None for the voice of each language with the most labelled audio.
    other_languages : whether those are unlabelled audio.
    seed : decides which text goes where.

    Raises
    ------
    UserError : no recordings of a language, or fewer than are asked for.
    """
    division, texts = Division({name: [] for name in (*LABELLED, UNLAB)}), Texts(clips)
    owners: dict[str, str] = {}  # text -> set
    heldout: set[str] = set()  # voices of the tests
    problems: list[str] = []
    rounds: list[list[tuple[list[str], dict[str, float]]]] = []
    for language in languages:
        labelled = [
            name for name, clip in clips.items() if clip.language == language and texts.words[name]
        ]
        try:
            chosen = _roles(language, labelled, clips, minutes, reader)
            rounds.append(_parts(language, chosen, minutes, shares))
        except UserError as error:
            problems += error.problems
    # all readers first: they have the fewest minutes to spare
    for part in zip(*rounds, strict=True):
        for names, wanted in part:
            short = _fill(names, wanted, texts, owners, division, minutes, seed)
            problems += [f"{name}: {why}" for name, why in short.items() if name == TRAIN]
    for parts in rounds:
        heldout |= {clips[name].voice for names, _ in parts[1:] for name in names}
    if problems:
        raise UserError(problems)
    _fill_unlabelled(clips, languages, texts, owners, heldout, division, other_languages)
    division.sets = {name: sorted(found) for name, found in division.sets.items() if found}
    return division


def _roles(
    language: str,
    labelled: Sequence[str],
    clips: Mapping[str, Clip],
    minutes: Mapping[str, float],
    reader: str | None,
) -> tuple[str, list[str], list[str], list[str]]:
    """The reader's name, and recordings of the reader, of another corpus, of all others."""
    voices: dict[str, float] = defaultdict(float)
    corpora: dict[str, float] = defaultdict(float)
    for name in labelled:
        voices[clips[name].voice] += minutes[name]
    if not voices:
        raise UserError(_none(language, clips))
    main = reader or max(sorted(voices), key=lambda voice: voices[voice])
    own = [name for name in labelled if main in (clips[name].voice, clips[name].corpus)]
    if not own:
        known = ", ".join(f"{voice} ({voices[voice]:.1f} min)" for voice in sorted(voices))
        raise UserError(f"--reader {main}: no such voice or corpus in {language}; there: {known}")
    home = {clips[name].corpus for name in own}
    others = [name for name in labelled if clips[name].corpus not in home]
    for name in others:
        corpora[clips[name].corpus] += minutes[name]
    away = max(sorted(corpora), key=lambda corpus: corpora[corpus], default=None)
    corpus = [name for name in others if clips[name].corpus == away]
    rest = [name for name in others if clips[name].corpus != away]
    return main, own, corpus, rest


def _parts(
    language: str,
    chosen: tuple[str, list[str], list[str], list[str]],
    minutes: Mapping[str, float],
    shares: Shares,
) -> list[tuple[list[str], dict[str, float]]]:
    """Recordings, and how many minutes of them each set gets, in the order they are filled."""
    main, own, corpus, voices = chosen
    there = sum(minutes[name] for name in own)
    rest, least = there - shares.train - shares.dev, shares.dev / 2
    if rest < least:
        raise UserError(
            f"{language}: {main} has {there:.1f} labelled minutes, but {shares.train:g} are asked "
            f"for train, {shares.dev:g} for dev, and test_reader needs {least:g}; lower --minutes "
            f"by {least - rest:.1f} or more, or --dev-minutes, or name another --reader"
        )
    reading = {_DEV: shares.dev, TRAIN: shares.train, READER: min(rest, shares.test)}
    return [(own, reading), (corpus, {CORPUS: shares.test}), (voices, {VOICES: shares.test})]


def _fill(
    names: Iterable[str],
    wanted: Mapping[str, float],
    texts: Texts,
    owners: dict[str, str],
    division: Division,
    minutes: Mapping[str, float],
    seed: int,
) -> dict[str, str]:
    """Give texts to the sets in turn until each has its minutes; report sets that fall short."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[texts.group(name)].append(name)
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
    have = dict.fromkeys(wanted, 0.0)
    for group in order:
        owner = owners.get(group)
        if owner is None:
            owner = next((one for one in wanted if have[one] < wanted[one]), None)
            if owner is None:
                continue
            owners[group] = owner
        if owner in wanted:
            division.sets[owner] += groups[group]
            have[owner] += sum(minutes[name] for name in groups[group])
    return {
        one: f"{have[one]:.1f} of {wanted[one]:g} minutes, since other sets or languages have the "
        "same texts; lower --minutes, or name another --reader"
        for one in wanted
        if have[one] < wanted[one]
    }


def _fill_unlabelled(
    clips: Mapping[str, Clip],
    languages: Sequence[str],
    texts: Texts,
    owners: Mapping[str, str],
    heldout: set[str],
    division: Division,
    other_languages: bool,
) -> None:
    taken = {name for found in division.sets.values() for name in found}
    for name, clip in clips.items():
        if name in taken:
            continue
        if clip.language not in languages and not other_languages:
            division.left_out["of another language"] += 1
        elif clip.voice in heldout:
            division.left_out["more of a test's voices"] += 1
        elif texts.group(name) in owners:
            division.left_out["of a text that another set has"] += 1
        else:
            division.sets[UNLAB].append(name)


def _none(language: str, clips: Mapping[str, Clip]) -> str:
    known = Counter(clip.language for clip in clips.values() if clip.words)
    there = ", ".join(f"{code} ({known[code]})" for code in sorted(known))
    return f"--langs {language}: no recording with a text; there are texts in {there or 'none'}"
