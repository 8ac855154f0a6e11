"""The two sides of a soft matching: units of speech and positions of text.

Legend: B batch, T student frames or runs, D student width, S teacher positions, E teacher width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.matching.shrink import SPECIAL_TOKENS, ctc_path, shrink
from distill_asr.distill.states import Context, States

_UNITS = ("frames", "runs")


@dataclass(frozen=True)
class Sides:
    """What is matched; an utterance without positions has no units either."""

    values: Tensor  # [B, T, D]
    counts: Tensor  # [B], valid units
    targets: Tensor  # float32 [B, S, E]
    positions: Tensor  # [B], valid positions


@dataclass(frozen=True)
class SideOptions:
    """How units and positions are taken; ValueError for values that are not allowed."""

    what: str  # begins the messages, such as "match: transport"
    units: str = "frames"  # frames | runs of the CTC path
    special_tokens: str = "drop"  # drop | keep the teacher's first and last position
    dropped: tuple[int, ...] = (0, 1)  # tokens whose runs are not units

    def __post_init__(self) -> None:
        if self.units not in _UNITS:
            raise ValueError(f"units must be one of {_UNITS}, not {self.units!r}")
        if self.special_tokens not in SPECIAL_TOKENS:
            raise ValueError(f"special_tokens must be keep or drop, not {self.special_tokens!r}")

    def require_text(self, student_step_ms: float | None, teacher_step_ms: float | None) -> None:
        """Refuse anything but frames that meet tokens.

        Parameters
        ----------
        student_step_ms, teacher_step_ms : duration of a step; None on token level.

        Raises
        ------
        ValueError : the student's side has no frames, or the teacher's has.
        """
        if student_step_ms is None or teacher_step_ms is not None:
            raise ValueError(
                f"{self.what} needs a tap of frames (encoder, encoder:k) and a text teacher"
            )

    def take(self, student: States, teacher: States, context: Context) -> Sides:
        """Both sides of a batch.

        Parameters
        ----------
        student : the tap, values [B, T, D].
        teacher : values [B, S, E].
        context : holds the CTC output, which ``units: runs`` needs.

        Raises
        ------
        ValueError : it has none for them, or one of another frame rate.
        """
        values, counts = student.values, student.lengths
        if self.units == "runs":
            path = ctc_path(student, context, f"{self.what} with units: runs")
            values, counts = shrink(values, counts, path, self.dropped)
        targets, positions = cut_special(teacher, self.special_tokens)
        return Sides(values, counts * (positions > 0), targets, positions)


class SoftMatcher(Matcher):
    """A matcher of frames, or runs, with the positions of a text teacher."""

    takes = (VECTORS,)

    def __init__(self, sides: SideOptions) -> None:
        super().__init__()
        self.sides = sides

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher``; ValueError unless frames meet tokens."""
        self.sides.require_text(student_step_ms, teacher_step_ms)
        return teacher_width


def cut_special(teacher: States, special_tokens: str) -> tuple[Tensor, Tensor]:
    """States float32 [B, S, E] and their lengths, without both ends where these are dropped.

    Parameters
    ----------
    teacher : values [B, S, E], one special token at either end.
    special_tokens : ``drop`` cuts them; anything else keeps them.
    """
    first = 1 if special_tokens == "drop" else 0
    last = max(teacher.values.size(1) - first, first)
    return teacher.values[:, first:last].float(), (teacher.lengths - 2 * first).clamp(min=0)


def projected(sides: Sides, context: Context) -> tuple[Tensor, Tensor]:
    """Units as the block's head projects them, and positions, both of length 1: [B, T or S, E].

    Parameters
    ----------
    sides : of the batch.
    context : holds the head; without it the units stay as they are.
    """
    values = sides.values.float()
    ours = values if context.project is None else context.project(values)
    return nn.functional.normalize(ours, dim=-1), nn.functional.normalize(sides.targets, dim=-1)
