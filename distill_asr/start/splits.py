"""Which utterance goes into which set: by the source's own splits, by speaker, or by utterance."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from distill_asr.data.normalise import plain_blanks
from distill_asr.errors import UserError
from distill_asr.start.contract import DEV, TEST, TRAIN, UNLABELLED
from distill_asr.start.look import Seen
from distill_asr.start.names import plain_name

_FEWEST = 10  # utterances with transcripts, of three sets
_DEV_WORDS, _TEST_WORDS = {"dev", "valid", "validation", "val"}, {"test", "eval", "tst"}
_TRAIN_WORDS = {"train", "training", "tr", "trn"}


@dataclass(frozen=True)
class SplitOptions:
    """How utterances are split where the source has no splits of its own.

    Parameters
    ----------
    by : ``speaker``, ``utterance``, or None: by speaker where three are known.
    dev_share, test_share : of the hours; a split by speaker takes whole speakers.
    own : set by the source's name of a split, where the name does not show it.
    seed : of the choice.
    """

    by: str | None = None
    dev_share: float = 0.05
    test_share: float = 0.1
    own: Mapping[str, str] | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        """List what is wrong with them, in the words of the command line."""
        found = [
            f"--{name.replace('_', '-')} {value}: expected more than 0 and less than 0.5"
            for name in ("dev_share", "test_share")
            if not 0 < (value := getattr(self, name)) < 0.5
        ]
        return found + [
            f"--set {split}={name}: expected one of {TRAIN}, {DEV}, {UNLABELLED}, or a name that "
            f"begins with {TEST}"
            for split, name in (self.own or {}).items()
            if name not in (TRAIN, DEV, UNLABELLED) and not name.startswith(TEST)
        ]


@dataclass(frozen=True)
class Split:
    """Sets by name; ``how`` explains their origin, ``warnings`` what is doubtful about them."""

    sets: dict[str, list[Seen]]
    how: str
    warnings: tuple[str, ...] = ()


def split_clips(labelled: Sequence[Seen], options: SplitOptions) -> Split:
    """Train, dev and test of utterances with transcripts.

    Parameters
    ----------
    labelled : the utterances.
    options : shares of the sets, and how to draw them.

    Raises
    ------
    UserError : too few utterances, or splits of the source whose names do not show their set.
    """
    if len(labelled) < _FEWEST:
        raise UserError(
            f"{len(labelled)} utterance(s) with transcripts can be used; expected at "
            f"least {_FEWEST}: train, dev and test need some each"
        )
    sets = _by_source(labelled, options)
    how = ["the source's splits"] if set(sets) != {TRAIN} else []
    warnings: list[str] = []
    for name, share in ((TEST, options.test_share), (DEV, options.dev_share)):
        if any(one.startswith(name) for one in sets):
            continue
        chosen, said, warned = _taken(sets[TRAIN], share, options, name)
        sets[name] = [one for one in sets[TRAIN] if id(one) in chosen]
        sets[TRAIN] = [one for one in sets[TRAIN] if id(one) not in chosen]
        how.append(f"{name} {said}")
        warnings += warned
    warnings = list(dict.fromkeys([*warnings, *_overlaps(sets)]))
    return Split({name: sets[name] for name in _ordered(sets)}, "; ".join(how), tuple(warnings))


def speakers_known(seen: Iterable[Seen]) -> bool:
    """Whether speakers are named, and are more than names of the utterances."""
    names = [one.clip.speaker for one in seen]
    return None not in names and len(set(names)) < len(names)


def _by_source(labelled: Sequence[Seen], options: SplitOptions) -> dict[str, list[Seen]]:
    sets: dict[str, list[Seen]] = defaultdict(list)
    unclear: dict[str, int] = defaultdict(int)
    for one in labelled:
        split = one.clip.split
        name = TRAIN if split is None else (options.own or {}).get(split) or set_name(split)
        if name is None:
            unclear[str(split)] += 1
        elif name != UNLABELLED:
            sets[name].append(one)
    if unclear:
        raise UserError(
            f"the source has a split {name!r} ({count} utterances) that is called neither train, "
            f"dev nor test; --set {name}=train (or dev, test, unlab) chooses its set"
            for name, count in unclear.items()
        )
    if TRAIN not in sets:
        raise UserError(
            f"the source has the splits {', '.join(sets)} but none for training; --set "
            "NAME=train chooses one"
        )
    return dict(sets)


def set_name(split: str) -> str | None:
    """``train``, ``dev``, or the test set's own name; None for other names."""
    words = set(re.split(r"[^a-z]+", split.lower()))
    if words & _TEST_WORDS:
        name = plain_name(split).replace("-", "_")
        return name if name.startswith(TEST) else f"{TEST}_{name}"
    if words & _DEV_WORDS:
        return DEV
    return TRAIN if words & _TRAIN_WORDS else None


def _taken(
    train: Sequence[Seen], share: float, options: SplitOptions, name: str
) -> tuple[set[int], str, list[str]]:
    """Identities of what leaves train, how it was chosen, and what is doubtful about it."""
    known = speakers_known(train)
    speakers = {one.clip.speaker for one in train}
    enough = known and len(speakers) >= 3
    if options.by == "speaker" and not enough:
        found = f"{len(speakers)} speaker(s) left" if known else "speakers are not known"
        raise UserError(f"--split-by speaker: {found}, {name} needs at least three")
    if enough and options.by != "utterance":
        chosen = _take(train, share, options.seed, lambda one: str(one.clip.speaker), whole=True)
        return chosen, "by speaker", []
    texts = [plain_blanks(one.clip.text or "") for one in train]
    by_text = len(set(texts)) > len(texts) // 2  # else a few commands, spoken again and again

    def unit(one: Seen) -> str:
        return plain_blanks(one.clip.text or "") if by_text else one.clip.where + one.clip.name

    if known and len(speakers) > 1:
        why = f"{len(speakers)} speakers" if options.by is None else "as asked for"
    else:
        why = "one speaker" if known else "speakers are not known"
    warning = (
        f"{name} is split by utterance ({why}): its voices are those of train, so its error "
        "rates do not hold for other voices"
    )
    if not known:
        warning += "; name the speakers (--speaker-column, --speaker-pattern)"
    return _take(train, share, options.seed, unit, whole=False), "by utterance", [warning]


def _take(
    train: Sequence[Seen], share: float, seed: int, unit: Callable[[Seen], str], whole: bool
) -> set[int]:
    """Units in an order that their names decide, until the share of seconds is reached.

    One stays at least. Of few speakers those with little audio go first, so that train keeps the
    most, and as many as come closest to the share.
    """
    members: dict[str, list[Seen]] = defaultdict(list)
    for one in train:
        members[unit(one)].append(one)
    seconds = {key: sum(one.seconds for one in group) for key, group in members.items()}
    wanted = share * sum(seconds.values())
    few = whole and len(members) < 2 / share

    def rank(key: str) -> tuple[float, str]:
        digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).hexdigest()
        return (seconds[key] if few else 0.0), digest

    chosen: set[int] = set()
    taken = 0.0
    for key in sorted(members, key=rank)[:-1]:
        if few and chosen and taken + seconds[key] / 2 > wanted:
            break
        chosen |= {id(one) for one in members[key]}
        taken += seconds[key]
        if taken >= wanted:
            break
    return chosen


def _overlaps(sets: Mapping[str, Sequence[Seen]]) -> list[str]:
    """What test sets share with train: voices, sentences."""
    found = []
    train = sets[TRAIN]
    voices = {one.clip.speaker for one in train} - {None}
    texts = {plain_blanks(one.clip.text or "") for one in train}
    for name, members in sets.items():
        if not name.startswith(TEST) or not members:
            continue
        same = sum(one.clip.speaker in voices for one in members)
        if same and speakers_known([*train, *members]):
            found.append(f"{name}: the voices of {same} of {len(members)} utterances are in train")
        same = sum(plain_blanks(one.clip.text or "") in texts for one in members)
        if same > len(members) // 10:
            found.append(
                f"{name}: the sentences of {same} of {len(members)} utterances are in train, too"
            )
    return found


def _ordered(sets: Iterable[str]) -> list[str]:
    first = [TRAIN, DEV]
    return sorted(sets, key=lambda name: (first.index(name) if name in first else 2, name))
