"""Token matching: one state of a text teacher a student token (arXiv 2301.13003)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.matching.token_spans import PieceSpans, pooling_weights, token_spans
from distill_asr.distill.states import Context, Pairs, States
from distill_asr.errors import few

_NAMED = 5  # kinds of unknown pieces that the survey names
MOSTLY = 0.5  # share of sentences in capitals from which the survey reports it


class TokenMatcher(Matcher):
    """Pair student token u with the teacher's position for the same piece of text.

    Where student and teacher share their tokens, positions are paired in order: BERT's [CLS] is
    dropped and its [SEP] is the target of the student's end token. Where they do not, name the
    teacher's tokenizer: the states of all pieces that overlap a student token's characters are
    averaged, weighted by the characters in common. A token without overlap (a space) gives no pair.

    Parameters
    ----------
    drop_first : teacher positions before the first token: 1 for BERT and its like.
    drop_last : teacher positions after the last token: 1 for students without an end token.
    tokenizer : the teacher's, a hub id or a directory, for tokens that are not the student's. What
        it puts first is then dropped by itself. It must be given the text that the teacher read,
        which training takes from the sets.
    """

    takes = (VECTORS,)
    has_tokens = True

    def __init__(
        self, drop_first: int = 1, drop_last: int = 0, tokenizer: str | None = None
    ) -> None:
        super().__init__()
        for name, value in (("drop_first", drop_first), ("drop_last", drop_last)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        self.drop_first = drop_first
        self.drop_last = drop_last
        self._pieces = PieceSpans(tokenizer) if tokenizer else None
        self.reads_text = tokenizer is not None

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher``.

        Raises
        ------
        ValueError : one side has a frame rate.
        """
        if student_step_ms is not None or teacher_step_ms is not None:
            raise ValueError("match: token needs tokens on both sides, not frames")
        return teacher_width

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, U, D]`` with ``[B, S, E]``.

        Utterances without teacher positions or without student tokens give no pairs.

        Raises
        ------
        ValueError : the counts differ; names the utterances.
        """
        if self._pieces is not None:
            return self._pooled(student, teacher, context, self._pieces)
        positions = (teacher.lengths - self.drop_first - self.drop_last).clamp(min=0)
        paired = positions * (student.lengths > 0)
        self._check_lengths(student.lengths, positions, teacher.lengths, context)
        steps = torch.arange(student.values.size(1), device=paired.device)
        batch, token = torch.nonzero(steps < paired.unsqueeze(1), as_tuple=True)
        ids = context.token_ids
        return Pairs(
            student.values[batch, token],
            teacher.values[batch, token + self.drop_first],
            batch,
            None if ids is None else ids[batch, token],
        )

    def check(self) -> None:
        """UserError if the tokenizer is missing, or does not give positions."""
        if self._pieces is not None:
            self._pieces("")

    def survey(self, texts: Mapping[str, str]) -> str | None:
        """Report how ``tokenizer`` splits the sentences, with unknown pieces and case.

        Parameters
        ----------
        texts : what the teacher read, by utterance.
        """
        if self._pieces is None:
            return None
        counts, unknown, affected, words = 0, Counter[str](), 0, 0
        for text in texts.values():
            spans, strange = self._pieces(text)
            counts += sum(end > start for start, end in spans)
            words += len(text.split())
            unknown.update(strange)
            affected += bool(strange)
        report = (
            f"the teacher reads {counts} pieces for {words} words of {len(texts)} utterances; "
            f"{unknown.total()} in {affected} utterances are unknown to it"
        )
        if unknown:
            named = ", ".join(f"{one!r} {n}" for one, n in unknown.most_common(_NAMED))
            report += f" ({named}), and its state for unknown pieces stands for them"
        capitals = sum(text.isupper() for text in texts.values()) > MOSTLY * len(texts)
        if capitals and not self._pieces.folds_case:
            report += (
                "; it distinguishes case, and the text is in capitals, which are rare in its "
                "vocabulary: dump it with `text:` naming a file in ordinary case"
            )
        return report

    def _check_lengths(
        self, student: Tensor, positions: Tensor, teacher: Tensor, context: Context
    ) -> None:
        wrong = (student != positions) & (teacher > 0) & (student > 0)
        if not bool(wrong.any()):
            return
        named = [
            f"{context.name(i)}: {int(student[i])} student tokens, {int(positions[i])} from the "
            "teacher"
            for i in wrong.nonzero().flatten().tolist()
        ]
        raise ValueError(
            f"student and teacher differ in their tokens ({few(named, '; ')}): the targets are of "
            "another text, drop_first or drop_last does not suit, or the tokenisations differ and "
            "match_conf.tokenizer must name the teacher's"
        )

    def _pooled(
        self, student: States, teacher: States, context: Context, pieces: PieceSpans
    ) -> Pairs:
        """Pairs of the whole batch, teacher states averaged over characters."""
        if not context.texts or not context.tokens:
            raise ValueError(
                "match: token with a tokenizer needs a student that is trained on text"
            )
        if not teacher.values.is_floating_point():
            raise ValueError("match: token with a tokenizer averages states, but these are codes")
        taught = (teacher.lengths > 0) & (student.lengths > 0)
        kept = [student.values.flatten(0, 1)[:0]]  # of an empty batch
        pooled, utterance = [teacher.values.flatten(0, 1)[:0]], [student.lengths[:0]]
        ids = [] if context.token_ids is None else [context.token_ids.flatten()[:0]]
        for i in taught.nonzero().flatten().tolist():
            counts = int(student.lengths[i]), int(teacher.lengths[i])
            weights = self._weights(context, i, *counts, pieces).to(teacher.values)
            rows = weights.any(dim=1)
            kept.append(student.values[i, : counts[0]][rows])
            pooled.append(weights[rows] @ teacher.values[i, : counts[1]])
            utterance.append(student.lengths.new_full((len(kept[-1]),), i))
            if context.token_ids is not None:
                ids.append(context.token_ids[i, : counts[0]][rows])
        tokens = torch.cat(ids) if ids else None
        return Pairs(torch.cat(kept), torch.cat(pooled), torch.cat(utterance), tokens)

    def _weights(
        self, context: Context, index: int, count: int, positions: int, pieces: PieceSpans
    ) -> Tensor:
        """Share of teacher positions in the student's tokens, [count, positions]."""
        text, tokens, name = context.texts[index], context.tokens[index], context.name(index)
        theirs, _ = pieces(text)
        try:
            ours = token_spans(tokens, text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if positions != len(theirs) or count not in (len(ours), len(ours) + 1):
            raise ValueError(
                f"{name}: {count} student tokens and {positions} teacher positions, but its text "
                f"{text!r} has {len(ours)} tokens and {len(theirs)} pieces: the targets are of "
                "another text, or match_conf.tokenizer is not their teacher's"
            )
        weights = pooling_weights([*ours, (0, 0)][:count], theirs, text)
        has_end = count > len(ours) and theirs[-1][0] == theirs[-1][1]
        if has_end and not self.drop_last:
            weights[-1, -1] = 1.0
        return weights
