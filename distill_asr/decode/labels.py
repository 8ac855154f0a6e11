"""Pseudo-labels: the facts about each, and which ones are kept.

A label is dropped if its words are implausible (loops, an impossible speaking rate), if another
recogniser disagrees, or if the recogniser's confidence is low.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from distill_asr.errors import UserError

UNKNOWN = "<unk>"
LONGEST_LOOP = 5  # words of what may be repeated
_NO_WORDS, UNKNOWN_WORDS, UNFINISHED = "no words", f"words with {UNKNOWN}", "no end"


@dataclass(frozen=True)
class Label:
    """Words of an utterance, and how sure the recogniser is: natural logarithm, a token."""

    words: str
    confidence: float
    finished: bool = True  # the search came to an end by itself

    @property
    def usable(self) -> bool:
        """There are words, all of them known, and all that were to come."""
        return bool(self.words) and UNKNOWN not in self.words and self.finished

    @property
    def compression(self) -> float:
        """Bytes of the words by those of their compressed form, as Whisper judges loops."""
        plain = self.words.encode()
        return len(plain) / len(zlib.compress(plain))

    @property
    def repeats(self) -> int:
        """How often the same one to five words stand in a row, at most; 1 where none does."""
        words = self.words.split()
        return max((_repeats(words, size) for size in range(1, LONGEST_LOOP + 1)), default=1)

    def rate(self, seconds: float) -> float:
        """Characters a second, blanks left out."""
        return len("".join(self.words.split())) / seconds if seconds else math.inf


def _repeats(words: list[str], size: int) -> int:
    """Times that ``size`` words stand in a row."""
    most = equal = 0
    for here, before in zip(words[size:], words, strict=False):
        equal = equal + 1 if here == before else 0
        most = max(most, equal)
    return 1 + most // size


@dataclass(frozen=True)
class LabelLimits:
    """Limits on the words of a label; None: no limit.

    Parameters
    ----------
    compression : largest ``Label.compression``; Whisper's own limit is 2.4.
    repeats : largest ``Label.repeats``.
    slowest, fastest : characters a second.
    disagreement : largest word error rate against another recogniser's words, 0.2 for 20 %.
    """

    compression: float | None = None
    repeats: int | None = None
    slowest: float | None = None
    fastest: float | None = None
    disagreement: float | None = None

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verb's options."""
        given = {
            "--max-compression": self.compression,
            "--max-repeats": self.repeats,
            "--min-rate": self.slowest,
            "--max-rate": self.fastest,
        }
        problems = [
            f"{option} {value}: expected a number above 0"
            for option, value in given.items()
            if value is not None and not 0 < value < math.inf
        ]
        if self.disagreement is not None and not 0 <= self.disagreement < math.inf:
            problems.append(
                f"--max-disagreement {self.disagreement}: expected a word error rate, such as 0.2"
            )
        slowest, fastest = self.slowest or 0, self.fastest or math.inf
        if not problems and slowest >= fastest:
            problems.append(f"--min-rate {slowest}: expected less than --max-rate {fastest}")
        return problems

    def deciding(self) -> dict[str, object]:
        """The limits there are, for a record."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def faults(self, label: Label, seconds: float, disagreement: float | None) -> list[str]:
        """Why a label is not to be kept; nothing where it is.

        Parameters
        ----------
        seconds : of its audio.
        disagreement : word error rate against another recogniser; None without one.
        """
        if not label.words:
            return [_NO_WORDS]
        faults = [] if UNKNOWN not in label.words else [UNKNOWN_WORDS]
        faults += [] if label.finished else [UNFINISHED]
        rate = label.rate(seconds)
        for name, value, low, high in (
            ("compression", label.compression, None, self.compression),
            ("repeats", label.repeats, None, self.repeats),
            ("too slow", rate, self.slowest, None),
            ("too fast", rate, None, self.fastest),
            ("disagreement", disagreement, None, self.disagreement),
        ):
            if value is None:
                continue
            if (low is not None and value < low) or (high is not None and value > high):
                faults.append(name)
        return faults


def choose_labels(
    labels: Mapping[str, Label], lowest: float | None = None, share: float | None = None
) -> list[str]:
    """Utterances to keep, sorted; never one without words.

    Parameters
    ----------
    labels : by utterance.
    lowest : confidence to keep.
    share : of the utterances with words, rounded up.

    Raises
    ------
    UserError : none is left.
    """
    usable = {utt: one for utt, one in labels.items() if one.usable}
    ranked = sorted(usable, key=lambda utt: (-usable[utt].confidence, utt))
    if not ranked:
        raise UserError(f"none of {len(labels)} utterances has words; is the student trained?")
    if share is not None:
        ranked = ranked[: math.ceil(share * len(ranked))]
    if lowest is not None:
        best = usable[ranked[0]].confidence
        ranked = [utt for utt in ranked if usable[utt].confidence >= lowest]
        if not ranked:
            raise UserError(f"--min-confidence {lowest}: the best of all has {best:.4f}; lower it")
    return sorted(ranked)
