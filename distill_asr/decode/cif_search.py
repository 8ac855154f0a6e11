"""Search over a CIF student: as many tokens as fire, cut at the end token.

Legend: U fired vectors, V vocabulary, K hypotheses.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from distill_asr.decode.language_model import LanguageModel
from distill_asr.decode.search import Hypothesis, encode


class CifSearch:
    """Beam search for both kinds of decoder; scores are not normalised by length.

    A hypothesis is complete at the end token, or when every fired vector has its token.

    Parameters
    ----------
    student : in evaluation mode.
    beam_size : 1 is greedy.
    nbest : hypotheses kept.
    language_model : adds its weighted log-probability to that of every token, the end token
        included; it does not change how many tokens fire.
    """

    def __init__(
        self,
        student: nn.Module,
        beam_size: int,
        nbest: int,
        language_model: LanguageModel | None = None,
    ) -> None:
        self.student = student
        self.beam_size = beam_size
        self.nbest = nbest
        self.language_model = language_model

    @torch.inference_mode()
    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """Speech [samples] -> hypotheses, best first; an empty one where nothing fires.

        A token's frame is the one in which it fires.
        """
        encoded = encode(self.student, speech)
        if not len(encoded):
            return [Hypothesis([], 0.0, [])]
        lengths = torch.tensor([len(encoded)], device=encoded.device)
        cif = self.student.integrate(encoded[None], lengths)
        fires = cif.frames[0].tolist()
        return [replace(one, frames=fires[: len(one.tokens)]) for one in self.search(cif.states[0])]

    def search(self, cif: Tensor) -> list[Hypothesis]:
        """Fired vectors [U, D] -> hypotheses, best first."""
        decoder, end = self.student.decoder, self.student.eos
        if self.beam_size == 1 and self.language_model is None and not decoder.autoregressive:
            return [self._all_at_once(decoder.start(cif))] if len(cif) else [Hypothesis([], 0.0)]
        complete: list[Hypothesis] = []
        tokens = torch.full((1, 1), self.student.sos, device=cif.device)  # [K, 1 + u]
        scores = torch.zeros(1, device=cif.device)
        memory = decoder.start(cif) if len(cif) else None
        states = None
        for index in range(len(cif)):
            logits, memory = decoder.step(memory, index, tokens[:, -1])
            log_probs = logits.float().log_softmax(dim=-1)
            if self.language_model is not None:
                prior, states = self.language_model.score(tokens, states)
                log_probs = log_probs + prior
            rows, last, scores = self._best(scores, log_probs)
            tokens = torch.cat([tokens[rows], last.unsqueeze(1)], dim=1)
            ended = last == end
            complete += _hypotheses(tokens[ended][:, :-1], scores[ended])
            tokens, scores, rows = tokens[~ended], scores[~ended], rows[~ended]
            if self._is_done(complete, scores):
                break
            memory = decoder.select(memory, rows)
            states = states and [states[row] for row in rows.tolist()]
        complete += _hypotheses(tokens, scores)
        return sorted(complete, key=lambda one: -one.score)[: self.nbest]

    def _all_at_once(self, logits: Tensor) -> Hypothesis:
        """The best token [U] of each row of logits [U, V], up to the end token."""
        log_probs = logits.float().log_softmax(dim=-1)
        log_probs[:, self.student.blank_id] = float("-inf")
        scores, tokens = log_probs.max(dim=-1)
        ids = tokens.tolist()
        count = ids.index(self.student.eos) if self.student.eos in ids else len(ids)
        return Hypothesis(ids[:count], float(scores[: count + 1].sum()))

    def _best(self, scores: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best extensions of K hypotheses: which one, by which token, and their scores."""
        extended = scores.unsqueeze(1) + log_probs
        extended[:, self.student.blank_id] = float("-inf")
        extended = extended.flatten()
        scores, places = extended.topk(min(self.beam_size, len(extended)))
        places, scores = places[scores.isfinite()], scores[scores.isfinite()]
        return places // log_probs.size(1), places % log_probs.size(1), scores

    def _is_done(self, complete: list[Hypothesis], scores: Tensor) -> bool:
        """No open hypothesis is left, or none can come among the best: scores only fall."""
        if not len(scores):
            return True
        ranked = sorted((one.score for one in complete), reverse=True)
        return len(ranked) >= self.nbest and ranked[self.nbest - 1] >= float(scores.max())


def _hypotheses(tokens: Tensor, scores: Tensor) -> list[Hypothesis]:
    """[K, 1 + u] with the start token -> hypotheses without it."""
    return [
        Hypothesis(row[1:], score)
        for row, score in zip(tokens.tolist(), scores.tolist(), strict=True)
    ]
