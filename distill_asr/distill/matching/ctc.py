"""CTC matching: posteriors of two CTC models, frame by frame, with a rule for the blanks.

Legend: B batch, T student frames, S teacher frames, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill_asr.distill.contracts import POSTERIORS
from distill_asr.distill.matching.delays import Delays
from distill_asr.distill.matching.frame import FrameMatcher
from distill_asr.distill.states import Context, Pairs, States

BLANKS = ("keep", "near", "drop")


class CTCMatcher(FrameMatcher):
    """Pair a student's CTC logits with a teacher's CTC log-posteriors over the same tokens.

    Most frames of a trained CTC model are blanks, and carry little information. Where the
    teacher has more frames than the student, probabilities are averaged.

    Parameters
    ----------
    blank : ``keep`` every frame; ``drop`` those whose likeliest token is the blank for the
        teacher; ``near`` keeps of these the neighbours of other tokens (arXiv 2506.01503 finds
        that dropping all of them is not safe).
    margin : frames on either side, for ``near``.
    blank_id : ESPnet's token lists start with it.
    delay : milliseconds by which the student lags, for streaming students.
    window : milliseconds; every delay from ``delay - window`` to ``delay`` is tried for each
        teacher frame, and the smallest loss counts (a bounded buffer, arXiv 2505.22069).
    tolerance : largest difference in length, in student frames, that is cut to the shorter side.
    """

    takes = (POSTERIORS,)
    only_tap = "ctc"
    way_out = ""

    def __init__(
        self,
        blank: str = "keep",
        margin: int = 1,
        blank_id: int = 0,
        delay: float = 0.0,
        window: float = 0.0,
        tolerance: int = 3,
    ) -> None:
        super().__init__("average", delay, tolerance)
        self.takes = (POSTERIORS,)
        if blank not in BLANKS:
            raise ValueError(f"blank must be one of {BLANKS}, not {blank!r}")
        if margin < 0 or blank_id < 0:
            raise ValueError(f"margin, blank_id: expected 0 or more, not {margin}, {blank_id}")
        self.blank = blank
        self.margin = margin
        self.blank_id = blank_id
        self.delays = Delays(delay, window)

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, V]`` with ``[B, S, V]``.

        Raises
        ------
        ValueError : lengths differ by more than ``tolerance``; names the utterances.
        """
        ratio = self.ratio(student.step_ms, teacher.step_ms)
        values = self._to_student_rate(teacher.values, ratio)
        available = torch.div(teacher.lengths, ratio, rounding_mode="floor")
        self._check_lengths(student.lengths, available, teacher.lengths, context)
        utterance, time = torch.nonzero(self._kept(values, available), as_tuple=True)
        assert student.step_ms is not None  # of a tap of frames
        which, frame = self.delays.answers(time, student.lengths[utterance], student.step_ms)
        alternatives = which if self.delays.window else None
        utterance = utterance[which]
        taught = values[utterance, time[which]]
        return Pairs(student.values[utterance, frame], taught, utterance, alternatives=alternatives)

    def _to_student_rate(self, values: Tensor, ratio: int) -> Tensor:
        """[B, S, V] -> [B, S // ratio, V], averaged as probabilities."""
        if ratio == 1:
            return values
        batch, frames, width = values.shape
        grouped = values[:, : frames // ratio * ratio].reshape(batch, frames // ratio, ratio, width)
        return grouped.float().logsumexp(dim=2) - math.log(ratio)

    def _kept(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Teacher frames that count, [B, T] bool."""
        frames = torch.arange(values.size(1), device=values.device)
        valid = frames < lengths.unsqueeze(1)
        if self.blank == "keep":
            return valid
        spoken = valid & (values.argmax(dim=-1) != self.blank_id)
        if self.blank == "near" and self.margin and spoken.size(1):
            width = 2 * self.margin + 1
            near = torch.nn.functional.max_pool1d(
                spoken.float().unsqueeze(1), width, stride=1, padding=self.margin
            )
            spoken = near.squeeze(1) > 0
        return valid & spoken
