"""Aligned matching: units of speech are paired with the text only where they stand for it.

Legend: B batch, T student frames, D student width, U tokens of the transcript, S teacher
positions, E teacher width, V vocabulary, N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import forced_align

from distill_asr.distill.contracts import VECTORS
from distill_asr.distill.matching.edit_alignment import paired_units
from distill_asr.distill.matching.shrink import ctc_logits, means
from distill_asr.distill.matching.token import TokenMatcher
from distill_asr.distill.matching.token_spans import PieceSpans
from distill_asr.distill.states import Context, Pairs, States

UNMATCHED = ("skip", "stretch")
_PAIRS = ("path", "forced")


@dataclass(frozen=True)
class Segments:
    """What of an utterance stands for which token.

    Each span is (first frame, last + 1, token, whether its run is that very token).
    """

    spans: list[tuple[int, int, int, bool]]
    units: int  # runs there were, paired or not


class AlignedMatcher(TokenMatcher):
    """Pair runs of the CTC path with the text teacher's states of the same tokens.

    The best CTC path over the tap's frames is cut into runs of equal tokens, blank and unknown
    dropped, and aligned with the transcript by edit distance. A run is paired with the token it
    stands for: equal ones, and runs in blocks between two equal stretches that are as long on both
    sides. Other runs are left out, so that each state of the teacher is learnt by frames of its own
    words only. The even stretching of ``match: shrink`` pairs four of five units wrongly where the
    path has errors. An utterance may give no pairs.

    Where student and teacher share their tokens, the teacher's positions are the transcript's, its
    special ones dropped. Where they do not, name the teacher's tokenizer, as in ``match: token``.

    Parameters
    ----------
    unmatched : ``skip`` blocks of unequal lengths, or ``stretch`` the transcript over their runs.
    pairs : ``path``, as above, or ``forced``: the frames of each token come from the likeliest
        alignment of the whole transcript (``torchaudio.functional.forced_align``), so that every
        token has its pair, whether or not the student would have decoded it.
    drop_first, drop_last, tokenizer : as in ``match: token``.
    blank, unk : ids of both tokens; ESPnet's token lists start with them.

    Attributes
    ----------
    reads_text : whether ``Context.texts`` and ``Context.tokens`` are needed.
    """

    takes = (VECTORS,)
    default_head = "projection"

    def __init__(
        self,
        unmatched: str = "skip",
        pairs: str = "path",
        drop_first: int = 1,
        drop_last: int = 1,
        tokenizer: str | None = None,
        blank: int = 0,
        unk: int = 1,
    ) -> None:
        super().__init__(drop_first, drop_last, tokenizer)
        for name, value, allowed in (
            ("unmatched", unmatched, UNMATCHED),
            ("pairs", pairs, _PAIRS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
        self.unmatched = unmatched
        self.pairs = pairs
        self.blank = blank
        self.unk = unk

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher``; ValueError unless frames meet tokens."""
        if student_step_ms is None or teacher_step_ms is not None:
            raise ValueError(
                "match: aligned needs a tap of frames (encoder, encoder:k) and a text teacher"
            )
        return teacher_width

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``; ``Pairs.tokens`` are those of the transcript.

        Raises
        ------
        ValueError : the student has no CTC output at the tap's rate, no transcripts, or targets of
            another text; names the utterances.
        """
        logits = ctc_logits(student, context, "match: aligned")
        taught = ((teacher.lengths > 0) & (student.lengths > 0)).tolist()
        lengths = student.lengths.tolist()
        rows = [r if t else [] for r, t in zip(_transcripts(context), taught, strict=True)]
        segments = (
            self._forced(logits, lengths, rows)
            if self.pairs == "forced"
            else self._along_the_path(logits, lengths, rows)
        )
        return self._gathered(student, teacher, context, rows, segments)

    def _along_the_path(
        self, logits: Tensor, lengths: list[int], rows: list[list[int]]
    ) -> list[Segments]:
        """Segments of the runs that have a token, by edit distance."""
        path = logits.argmax(dim=-1).cpu().numpy()  # the one wait for the device
        found = []
        for frames, length, expected in zip(path, lengths, rows, strict=True):
            runs = [r for r in _runs(frames[:length]) if r[0] != self.blank and r[0] != self.unk]
            stretch = self.unmatched == "stretch"
            pairs = paired_units([run[0] for run in runs], expected, stretch)
            spans = [(*runs[i][1:], u, runs[i][0] == expected[u]) for i, u in pairs]
            found.append(Segments(spans, len(runs)))
        return found

    def _forced(self, logits: Tensor, lengths: list[int], rows: list[list[int]]) -> list[Segments]:
        """Segments of all tokens, by forced alignment; none where the audio is too short."""
        scores = logits.float().log_softmax(dim=-1).cpu()
        found = []
        for i, (length, expected) in enumerate(zip(lengths, rows, strict=True)):
            repeats = sum(a == b for a, b in pairwise(expected))
            if not expected or self.blank in expected or len(expected) + repeats > length:
                found.append(Segments([], len(expected)))
                continue
            frames, _ = forced_align(
                scores[i : i + 1, :length], torch.tensor([expected]), blank=self.blank
            )
            runs = [run for run in _runs(frames[0].numpy()) if run[0] != self.blank]
            spans = [(begin, end, u, True) for u, (_, begin, end) in enumerate(runs)]
            found.append(Segments(spans, len(spans)))
        return found

    def _gathered(
        self,
        student: States,
        teacher: States,
        context: Context,
        rows: list[list[int]],
        found: list[Segments],
    ) -> Pairs:
        """Means of the segments' frames, and the teacher's states of their tokens."""
        device = student.values.device
        states, taught = self._token_states(teacher, context, rows)
        kept = [[s for s in one.spans if taught[i][s[2]]] for i, one in enumerate(found)]
        frames = student.values.size(1)
        unit = np.full(tuple(student.values.shape[:2]), frames, dtype=np.int64)
        for i, spans in enumerate(kept):
            for number, (begin, end, *_) in enumerate(spans):
                unit[i, begin:end] = number
        places = [(i, n, s[2]) for i, spans in enumerate(kept) for n, s in enumerate(spans)]
        batch, number, token = torch.tensor(places, dtype=torch.int64).reshape(-1, 3).T.to(device)
        tokens = pad_sequence([torch.tensor(r, dtype=torch.int64) for r in rows], True).to(device)
        values = means(student.values, torch.from_numpy(unit).to(device))
        # a run whose token has no piece, as a space, has nothing to learn and does not count
        without = sum(len(one.spans) for one in found) - len(places)
        units = sum(one.units for one in found) - without
        right = sum(is_right for spans in kept for *_, is_right in spans)
        return Pairs(
            values[batch, number],
            states[batch, token],
            batch,
            tokens[batch, token],
            shares={"paired": len(places) / max(units, 1), "right": right / max(len(places), 1)},
        )

    def _token_states(
        self, teacher: States, context: Context, rows: list[list[int]]
    ) -> tuple[Tensor, list[list[bool]]]:
        """The teacher's state of each token, [B, U, E], and whether there is one."""
        if self._pieces is not None:
            return self._pooled_states(teacher, context, rows, self._pieces)
        counts = torch.tensor([len(row) for row in rows], device=teacher.lengths.device)
        positions = (teacher.lengths - self.drop_first - self.drop_last).clamp(min=0)
        self._check_lengths(counts, positions, teacher.lengths, context)
        most = max((len(row) for row in rows), default=0)
        states = teacher.values[:, self.drop_first : self.drop_first + most]
        return states, [[True] * len(row) for row in rows]

    def _pooled_states(
        self, teacher: States, context: Context, rows: list[list[int]], pieces: PieceSpans
    ) -> tuple[Tensor, list[list[bool]]]:
        """The same where the tokens differ: states averaged over the characters in common."""
        if not context.texts or not context.tokens:
            raise ValueError("match: aligned with a tokenizer needs the texts the teacher read")
        most = max((len(row) for row in rows), default=0)
        states = teacher.values.new_zeros((len(rows), most, teacher.values.size(2)))
        taught: list[list[bool]] = []
        for i, (row, positions) in enumerate(zip(rows, teacher.lengths.tolist(), strict=True)):
            if not row or not positions:
                taught.append([False] * len(row))
                continue
            weights = self._weights(context, i, len(row), positions, pieces).to(teacher.values)
            states[i, : len(row)] = weights @ teacher.values[i, :positions]
            taught.append(weights.any(dim=1).tolist())
        return states, taught


def _runs(frames: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of equal tokens of a path [T]: (token, first frame, last + 1)."""
    ends = np.append(np.flatnonzero(np.diff(frames)) + 1, len(frames))[: len(frames)]
    begins = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    return list(zip(frames[begins].tolist(), begins.tolist(), ends.tolist(), strict=True))


def _transcripts(context: Context) -> list[list[int]]:
    """Token ids of each utterance, without the end token; ValueError without tokens."""
    if context.token_ids is None or context.token_lengths is None:
        raise ValueError("match: aligned needs transcripts; use it where the student has text")
    rows, lengths = context.token_ids.tolist(), context.token_lengths.tolist()
    return [row[: length - 1] for row, length in zip(rows, lengths, strict=True)]
