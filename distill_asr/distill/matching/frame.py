"""Frame-rate matching: teacher frames are brought to the student's rate, then paired in order."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.states import Context, Pairs, States
from distill_asr.errors import few

_REDUCTIONS = ("concat", "average", "resample")
_INTERPOLATE = ("linear", "nearest")
FINEST = 10_000  # steps in ms are taken as fractions with at most this denominator


class FrameMatcher(Matcher):
    """Pair student frame t with the teacher frames that cover the same time.

    A teacher at 20 ms and a student at 40 ms give two teacher frames a student frame: they are
    joined to width 2E (``concat``, arXiv 2303.10917 and its author's code) or averaged.
    ``resample`` takes any two rates (24 or 80 ms): a frame stands for the middle of its time, and
    the teacher is read at the middles of the student's frames, between its two nearest frames
    (``linear``; its ends hold beyond their middles) or from the one that covers it (``nearest``,
    which codes can take too). At half the rate ``linear`` equals ``average``.

    Parameters
    ----------
    reduction : ``concat``, ``average`` or ``resample``.
    delay : milliseconds by which the student lags: student frame t + delay answers teacher
        frame t. For streaming students, which lack the audio that the teacher has seen.
    tolerance : largest difference, in frames of the slower side, that is cut to the shorter one.
    interpolate : ``linear`` or ``nearest``, of ``resample``.
    """

    way_out = "write `match_conf: {reduction: resample}`, or "  # where rates do not divide

    def __init__(
        self,
        reduction: str = "concat",
        delay: float = 0.0,
        tolerance: int = 3,
        interpolate: str | None = None,
    ) -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {_REDUCTIONS}, not {reduction!r}")
        if interpolate is not None and reduction != "resample":
            raise ValueError(f"interpolate belongs to reduction: resample, not to {reduction!r}")
        if interpolate not in (None, *_INTERPOLATE):
            raise ValueError(f"interpolate must be one of {_INTERPOLATE}, not {interpolate!r}")
        if delay < 0:
            raise ValueError(f"delay must be 0 ms or more, not {delay}")
        if tolerance < 0:
            raise ValueError(f"tolerance must be 0 frames or more, not {tolerance}")
        self.reduction = reduction
        self.interpolate = interpolate or _INTERPOLATE[0]
        if reduction == "average" or (reduction == "resample" and self.interpolate == "linear"):
            self.takes = (VECTORS,)
        self.delay = delay
        self.tolerance = tolerance

    def ratio(self, student_step_ms: float | None, teacher_step_ms: float | None) -> int:
        """Teacher frames a student frame, for ``concat`` and ``average``.

        Parameters
        ----------
        student_step_ms, teacher_step_ms : duration of a frame; None on token level.

        Raises
        ------
        ValueError : one side is on token level, or the rates are not whole multiples.
        """
        student_step_ms, teacher_step_ms = _require_rates(student_step_ms, teacher_step_ms)
        ratio = round(student_step_ms / teacher_step_ms)
        if ratio < 1 or abs(ratio * teacher_step_ms - student_step_ms) > 1e-3 * student_step_ms:
            raise ValueError(
                f"a student frame of {student_step_ms:g} ms is not a whole multiple of the "
                f"teacher's {teacher_step_ms:g} ms; {self.way_out}choose the student's "
                "subsampling to suit"
            )
        return ratio

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher`` for these rates."""
        if self.reduction == "resample":
            _require_rates(student_step_ms, teacher_step_ms)
            return teacher_width
        ratio = self.ratio(student_step_ms, teacher_step_ms)
        return teacher_width * (ratio if self.reduction == "concat" else 1)

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``.

        Utterances without teacher frames (length 0) give no pairs.

        Raises
        ------
        ValueError : lengths differ by more than ``tolerance``; names the utterances.
        """
        student_ms, teacher_ms = _require_rates(student.step_ms, teacher.step_ms)
        if self.reduction == "resample":
            step = _fraction(student_ms) / _fraction(teacher_ms)
            available = _covered(teacher.lengths, step)
        else:
            ratio = self.ratio(student_ms, teacher_ms)
            available = torch.div(teacher.lengths, ratio, rounding_mode="floor")
        slower = max(1.0, teacher_ms / student_ms)
        self._check_lengths(student.lengths, available, teacher.lengths, context, slower)
        shift = round(self.delay / student_ms)
        paired = torch.minimum(student.lengths - shift, available).clamp(min=0)
        frames = torch.arange(max(student.values.size(1) - shift, 0), device=paired.device)
        batch, time = torch.nonzero(frames < paired.unsqueeze(1), as_tuple=True)
        if self.reduction == "resample":
            taught = self._resampled(teacher, batch, time, step)
        else:
            taught = self._to_student_rate(teacher.values, ratio)[batch, time]
        return Pairs(student.values[batch, time + shift], taught, batch)

    def _to_student_rate(self, values: Tensor, ratio: int) -> Tensor:
        """[B, S, E] -> [B, S // ratio, E or ratio * E]."""
        batch, frames, width = values.shape
        grouped = values[:, : frames // ratio * ratio].reshape(batch, frames // ratio, ratio, width)
        return grouped.flatten(2) if self.reduction == "concat" else grouped.mean(dim=2)

    def _resampled(self, teacher: States, batch: Tensor, time: Tensor, step: Fraction) -> Tensor:
        """Teacher states [N, E] at the middles of the student frames ``time`` [N].

        Places are counted in whole parts of a teacher frame, so that no rounding moves one.
        """
        parts = 2 * step.denominator  # of a teacher frame
        middle = (2 * time + 1) * step.numerator
        if self.interpolate == "nearest":
            return teacher.values[batch, torch.div(middle, parts, rounding_mode="floor")]
        last = teacher.lengths[batch] - 1
        place = torch.minimum((middle - step.denominator).clamp(min=0), last * parts)
        left = torch.div(place, parts, rounding_mode="floor")
        share = ((place - left * parts).to(teacher.values.dtype) / parts).unsqueeze(-1)
        before = teacher.values[batch, left]
        after = teacher.values[batch, torch.minimum(left + 1, last)]
        return before + share * (after - before)

    def _check_lengths(
        self,
        student: Tensor,
        available: Tensor,
        teacher: Tensor,
        context: Context,
        scale: float = 1.0,
    ) -> None:
        tolerance = self.tolerance * scale
        wrong = ((student - available).abs() > tolerance) & (teacher > 0)
        if not bool(wrong.any()):
            return
        named = [
            f"{context.name(i)}: {int(student[i])} student frames, "
            f"{int(available[i])} from the teacher"
            for i in wrong.nonzero().flatten().tolist()
        ]
        raise ValueError(
            f"student and teacher lengths differ by more than {tolerance:g} frames "
            f"({few(named, '; ')}): the targets were made from other audio, or the audio is "
            "changed on the way to the student (speed perturbation, truncation)"
        )


def _require_rates(student_ms: float | None, teacher_ms: float | None) -> tuple[float, float]:
    """Both rates; ValueError where one side is on token level."""
    if student_ms is None or teacher_ms is None:
        raise ValueError("match: frame needs a frame rate on both sides, not tokens")
    return student_ms, teacher_ms


def _fraction(step_ms: float) -> Fraction:
    return Fraction(step_ms).limit_denominator(FINEST)


def _covered(lengths: Tensor, step: Fraction) -> Tensor:
    """How many student frames have their middle within the time of ``lengths`` teacher frames.

    Parameters
    ----------
    step : of the student, in teacher frames.
    """
    # t of them, where (2t + 1) numerator < 2 lengths denominator
    odd = torch.div(2 * lengths * step.denominator - 1, step.numerator, rounding_mode="floor")
    return torch.div(odd + 1, 2, rounding_mode="floor").clamp(min=0)
