"""Lattice-path matching: a transducer answers at the nodes its teacher passed.

Legend: B batch, T student frames, S nodes of a path, V vocabulary, N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.distill.contracts import POSTERIORS, Matcher
from distill_asr.distill.matching.delays import Delays
from distill_asr.distill.states import PATH_COLUMNS, Context, Pairs, States
from distill_asr.errors import few


class PathMatcher(Matcher):
    """Pair a transducer's logits with a recogniser's posteriors along its one-best path.

    The targets are what ``kind: recogniser, output: path`` dumps: rows ``t, u, symbol, log-softmax
    (V)`` (Yang, Li, Woodland 2022, arXiv 2110.03334). Only the nodes on the path are computed,
    never the lattice. Nodes beyond the student's frames are left out.

    Parameters
    ----------
    delay : milliseconds by which the path is moved, for streaming students.
    window : milliseconds; each node is asked at every delay from ``delay - window`` to ``delay``,
        and the smallest of its losses counts.
    tolerance : by how many frames a path may be longer than the student's utterance.
    """

    takes = (POSTERIORS,)
    only_tap = "logits"
    reads_lattice = True
    columns = PATH_COLUMNS

    def __init__(self, delay: float = 0.0, window: float = 0.0, tolerance: int = 3) -> None:
        super().__init__()
        if tolerance < 0:
            raise ValueError(f"tolerance must be 0 frames or more, not {tolerance}")
        self.delays = Delays(delay, window)
        self.tolerance = tolerance

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width V of ``Pairs.teacher``.

        Raises
        ------
        ValueError : the frame rates differ.
        """
        if student_step_ms != teacher_step_ms:
            raise ValueError(
                f"match: path needs equal frame rates, but a student frame has {student_step_ms} "
                f"ms and the teacher's {teacher_step_ms} ms; choose the subsampling to suit"
            )
        return teacher_width - PATH_COLUMNS

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair logits at the nodes of ``context.lattice`` with ``[B, S, 3 + V]``.

        Raises
        ------
        ValueError : the student is not a transducer; or a path is of other audio or another
            transcript, named by its utterance.
        """
        if context.lattice is None:
            raise ValueError("match: path needs a transducer student and its tap `logits`")
        nodes = torch.arange(teacher.values.size(1), device=teacher.lengths.device)
        utterance, node = torch.nonzero(nodes < teacher.lengths.unsqueeze(1), as_tuple=True)
        rows = teacher.values[utterance, node]
        time, token = rows[:, 0].long(), rows[:, 1].long()
        self._check(student.lengths, context, utterance, time, token)
        assert student.step_ms is not None  # of a tap of frames
        which, frame = self.delays.answers(time, student.lengths[utterance], student.step_ms)
        utterance = utterance[which]
        logits = context.lattice.logits(utterance, frame, token[which])
        alternatives = which if self.delays.window else None
        return Pairs(logits, rows[which, PATH_COLUMNS:], utterance, alternatives=alternatives)

    def _check(
        self, lengths: Tensor, context: Context, utterance: Tensor, time: Tensor, token: Tensor
    ) -> None:
        late = time >= lengths[utterance] + self.tolerance
        assert context.lattice is not None  # forward has looked
        foreign = token > context.lattice.tokens[utterance]
        if not bool((late | foreign).any()):
            return
        named = [
            f"{context.name(i)}: {what}"
            for wrong, what in (
                (late, "the path has more frames than the student, so it belongs to other audio"),
                (
                    foreign,
                    "the path has more tokens than the text, so it belongs to another transcript",
                ),
            )
            for i in utterance[wrong].unique().tolist()
        ]
        raise ValueError(f"{few(named, '; ')}; dump these paths again from this audio and text")
