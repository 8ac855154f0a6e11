"""Frame-rate matching: teacher frames are brought to the student's rate, then paired in order."""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.states import Context, Pairs, States

REDUCTIONS = ("concat", "average")


class FrameMatcher(Matcher):
    """Pair student frame t with the teacher frames that cover the same time.

    A teacher at 20 ms and a student at 40 ms give two teacher frames a student frame: they are
    joined to width 2E (``concat``, arXiv 2303.10917 and its author's code) or averaged.

    Parameters
    ----------
    reduction : ``concat`` or ``average``.
    delay : milliseconds by which the student lags: student frame t + delay answers teacher
        frame t. For streaming students, which have not heard yet what the teacher knows.
    tolerance : largest difference, in student frames, that is cut to the shorter side.
    """

    def __init__(self, reduction: str = "concat", delay: float = 0.0, tolerance: int = 3) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")
        if delay < 0:
            raise ValueError(f"delay must be 0 ms or more, not {delay}")
        if tolerance < 0:
            raise ValueError(f"tolerance must be 0 frames or more, not {tolerance}")
        self.reduction = reduction
        if reduction == "average":
            self.takes = (VECTORS,)
        self.delay = delay
        self.tolerance = tolerance

    def ratio(self, student_step_ms: float | None, teacher_step_ms: float | None) -> int:
        """Teacher frames a student frame.

        Raises
        ------
        ValueError : one side is on token level, or the rates are no whole multiple.
        """
        if student_step_ms is None or teacher_step_ms is None:
            raise ValueError("match: frame needs a frame rate on both sides, not tokens")
        ratio = round(student_step_ms / teacher_step_ms)
        if ratio < 1 or abs(ratio * teacher_step_ms - student_step_ms) > 1e-3 * student_step_ms:
            raise ValueError(
                f"a student frame of {student_step_ms:g} ms is no whole multiple of the "
                f"teacher's {teacher_step_ms:g} ms; choose the student's subsampling to suit"
            )
        return ratio

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher`` for these rates."""
        ratio = self.ratio(student_step_ms, teacher_step_ms)
        return teacher_width * (ratio if self.reduction == "concat" else 1)

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``.

        Utterances without teacher frames (length 0) give no pairs.

        Raises
        ------
        ValueError : lengths differ by more than ``tolerance``; names the utterances.
        """
        ratio = self.ratio(student.step_ms, teacher.step_ms)
        values = self._to_student_rate(teacher.values, ratio)
        available = torch.div(teacher.lengths, ratio, rounding_mode="floor")
        self._check_lengths(student.lengths, available, teacher.lengths, context)
        assert student.step_ms is not None  # ``ratio`` has looked
        shift = round(self.delay / student.step_ms)
        paired = torch.minimum(student.lengths - shift, available).clamp(min=0)
        width = min(student.values.size(1) - shift, values.size(1))
        frames = torch.arange(max(width, 0), device=paired.device)
        batch, time = torch.nonzero(frames < paired.unsqueeze(1), as_tuple=True)
        return Pairs(student.values[batch, time + shift], values[batch, time], batch)

    def _to_student_rate(self, values: Tensor, ratio: int) -> Tensor:
        """[B, S, E] -> [B, S // ratio, E or ratio * E]."""
        batch, frames, width = values.shape
        grouped = values[:, : frames // ratio * ratio].reshape(batch, frames // ratio, ratio, width)
        return grouped.flatten(2) if self.reduction == "concat" else grouped.mean(dim=2)

    def _check_lengths(
        self, student: Tensor, available: Tensor, teacher: Tensor, context: Context
    ) -> None:
        wrong = ((student - available).abs() > self.tolerance) & (teacher > 0)
        if not bool(wrong.any()):
            return
        named = [
            f"{context.name(i)}: {int(student[i])} student frames, "
            f"{int(available[i])} from the teacher"
            for i in wrong.nonzero().flatten().tolist()
        ]
        raise ValueError(
            f"student and teacher lengths differ by more than {self.tolerance} frames "
            f"({'; '.join(named)}): the targets were made from other audio, or the audio is "
            "changed on the way to the student (speed perturbation, truncation)"
        )
