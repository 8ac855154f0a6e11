"""N-best matching: hypotheses of the student with the transcript, as a text teacher reads both.

Legend: B batch, T student frames, V vocabulary, S positions of the transcript, E teacher width,
M hypotheses of the whole batch, P positions of a hypothesis, N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.matching.greedy import DIRECTIONS, nearest_pairs
from distill_asr.distill.matching.prefix_beams import path_scores, prefix_beams
from distill_asr.distill.matching.shrink import SPECIAL_TOKENS
from distill_asr.distill.matching.sides import cut_special
from distill_asr.distill.states import Context, Pairs, States


class NBestMatcher(Matcher):
    """Sequence training on an N-best list with BERTScore as reward (after Lee et al. 2023).

    The likeliest hypotheses of the CTC output are read by the text teacher, and each is paired
    with the transcript as ``match: greedy`` pairs. A pair's weight holds the probability of its
    hypothesis, over all alignments, renormalised over the list. It alone has a gradient: both
    sides of a pair are states of the teacher. With ``loss: cosine`` and ``reduce: utterance`` the
    term is the expected risk, 1 less the expected score.

    A hypothesis that the teacher cannot read, one without words or of too many pieces, counts as
    one zero vector: its cosine with anything is 0. Utterances whose transcript has no positions
    give no pairs.

    Parameters
    ----------
    hypotheses : of an utterance, at most.
    beam : prefixes that the search keeps, and tokens that it tries a frame.
    direction : ``both``, the mean of recall and precision; or one alone.
    special_tokens : ``drop`` the teacher's first and last position, or ``keep`` them.
    blank : its id.
    """

    takes = (VECTORS,)
    only_tap = "ctc"
    reads_hypotheses = True
    default_head = "identity"

    def __init__(
        self,
        hypotheses: int = 4,
        beam: int = 8,
        direction: str = "both",
        special_tokens: str = "drop",
        blank: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < hypotheses <= beam:
            raise ValueError(
                f"hypotheses, beam: expected 1 or more, and a beam as large, not {hypotheses}, "
                f"{beam}"
            )
        for name, value, allowed in (
            ("direction", direction, DIRECTIONS),
            ("special_tokens", special_tokens, SPECIAL_TOKENS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
        self.hypotheses, self.beam, self.blank = hypotheses, beam, blank
        self.direction, self.special_tokens = direction, special_tokens

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of both sides of a pair; ValueError unless the teacher reads text."""
        if teacher_step_ms is not None:
            raise ValueError("match: nbest needs a text teacher")
        return teacher_width

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair hypotheses from logits ``[B, T, V]`` with the transcript's states ``[B, S, E]``.

        Raises
        ------
        ValueError : the context has no reader.
        """
        if context.read is None:
            raise ValueError("match: nbest needs a text teacher that runs in the training step")
        with torch.autocast(student.values.device.type, enabled=False):
            log_probs = student.values.float().log_softmax(dim=-1)
        references, positions = cut_special(teacher, self.special_tokens)
        lengths = student.lengths * (positions > 0)
        found = prefix_beams(log_probs, lengths, self.hypotheses, self.beam, self.blank)
        utterance = found.utterance
        values, counts = cut_special(context.read(found.tokens), self.special_tokens)
        read = counts > 0
        values = _with_zeros(values, ~read)
        scores = path_scores(log_probs, lengths, found, self.blank)
        near = _cosines(values, references[utterance])
        pair, unit, place, weight = nearest_pairs(
            near, counts.clamp(min=1), positions[utterance], self.direction
        )
        posterior = renormalised(scores, utterance, student.values.size(0))
        owner = utterance[pair]
        return Pairs(
            values[pair, unit],
            references[owner, place],
            owner,
            weight=weight * posterior[pair],
            shares={"read": float(read.float().mean())} if len(read) else {},
        )


def _cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    """[M, P, E], [M, S, E] -> [M, P, S]."""
    ours, theirs = (nn.functional.normalize(side, dim=-1) for side in (ours, theirs))
    return ours @ theirs.transpose(1, 2)


def _with_zeros(values: Tensor, unread: Tensor) -> Tensor:
    """States [M, P, E] with at least one position, all zero where a hypothesis was not read."""
    if not values.size(1):
        values = values.new_zeros((values.size(0), 1, values.size(2)))
    return values.masked_fill(unread[:, None, None], 0.0)


def renormalised(scores: Tensor, utterance: Tensor, batch: int) -> Tensor:
    """Probabilities [M] of log-probabilities; those of one utterance add up to 1.

    Parameters
    ----------
    scores : [M], log-probability of each hypothesis.
    utterance : [M], the utterance of each, from 0.
    batch : number of utterances, B.
    """
    largest = scores.detach().new_full((batch,), -torch.inf)
    largest = largest.scatter_reduce(0, utterance, scores.detach(), "amax")
    powers = (scores - largest[utterance]).exp()
    sums = powers.new_zeros(batch).index_add(0, utterance, powers)
    return powers / sums[utterance]
