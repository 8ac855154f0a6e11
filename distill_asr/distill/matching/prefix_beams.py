"""The likeliest token sequences of a CTC output, by prefix beam search, batched.

Legend: B batch, T frames, V vocabulary, K prefixes kept, C tokens tried a frame, H hypotheses,
M hypotheses of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

_FACTOR = 6364136223846793005  # of the numbers that stand for prefixes, modulo 2^64
_STAY = -1  # in place of a token: the prefix stays as it is


@dataclass(frozen=True)
class Hypotheses:
    """Token sequences of a batch, the likeliest of each utterance first."""

    utterance: Tensor  # [M], index into the batch
    tokens: list[list[int]]  # M of them


@dataclass(frozen=True)
class _Beams:
    """Prefixes of each utterance, [B, K] each; those that are not there have probability 0."""

    blank: Tensor  # log-probability of the paths that end in blank
    token: Tensor  # the same of those that end in the prefix's last token
    last: Tensor  # the last token
    number: Tensor  # stands for the prefix

    @property
    def total(self) -> Tensor:
        return torch.logaddexp(self.blank, self.token)


@torch.no_grad()
def prefix_beams(
    log_probs: Tensor, lengths: Tensor, count: int, beam: int, blank: int = 0
) -> Hypotheses:
    """The ``count`` likeliest token sequences, or as many as there are (Graves 2012; Hannun 2014).

    The loop is over frames; each step treats the whole batch on the device.

    Parameters
    ----------
    log_probs : [B, T, V], log-softmax of a CTC output.
    lengths : [B], valid frames; an utterance without any has no hypothesis.
    count : H, at most ``beam``.
    beam : K; as many tokens are tried a frame.
    blank : its id.
    """
    log_probs = log_probs.double()  # sums over frames, compared with one another
    beams = _begun(log_probs, beam)
    steps: list[tuple[Tensor, Tensor]] = []
    for frame in range(log_probs.size(1)):
        active = (frame < lengths).unsqueeze(1)
        beams, parent, token = _step(beams, log_probs[:, frame], active, blank)
        steps.append((parent, token))
    return _traced(beams, steps, lengths, count)


def _begun(log_probs: Tensor, beam: int) -> _Beams:
    """The empty prefix alone."""
    shape = (log_probs.size(0), beam)
    nothing = log_probs.new_full(shape, -torch.inf)
    first = nothing.clone()
    first[:, 0] = 0.0
    last = torch.full(shape, _STAY, device=log_probs.device)
    return _numbered(_Beams(first, nothing, last, torch.zeros_like(last)))


def _numbered(beams: _Beams) -> _Beams:
    """With numbers of their own for places that no prefix holds, so that nothing joins them."""
    places = torch.arange(beams.number.size(1), device=beams.number.device)
    return replace(beams, number=torch.where(beams.total.isfinite(), beams.number, -1 - places))


def _step(
    beams: _Beams, frame: Tensor, active: Tensor, blank: int
) -> tuple[_Beams, Tensor, Tensor]:
    """One frame [B, V] further, where it is ``active`` [B, 1].

    Returns
    -------
    The prefixes; and of each, [B, K], the one it comes from and the token that it got.
    """
    size = beams.last.size(1)
    others = frame.clone()
    others[:, blank] = -torch.inf
    scores, tokens = others.topk(min(size, frame.size(1) - 1), dim=1)  # [B, C]
    repeated = others.gather(1, beams.last.clamp(min=0))
    stayed_token = beams.token + repeated
    stayed_blank = beams.total + frame[:, blank : blank + 1]
    # a token like the last one begins anew only after a blank
    same = beams.last.unsqueeze(2) == tokens.unsqueeze(1)  # [B, K, C]
    grown = torch.where(same, beams.blank.unsqueeze(2), beams.total.unsqueeze(2))
    grown = (grown + scores.unsqueeze(1)).flatten(1)  # [B, K * C]
    number = (beams.number.unsqueeze(2) * _FACTOR + tokens.unsqueeze(1) + 1).flatten(1)
    # what grows into a prefix that is kept already belongs to that one
    known = beams.number.unsqueeze(2) == number.unsqueeze(1)  # [B, K, K * C]
    joined = grown.unsqueeze(1).masked_fill(~known, -torch.inf).logsumexp(dim=2)
    stayed_token = torch.logaddexp(stayed_token, joined)
    grown = grown.masked_fill(known.any(dim=1), -torch.inf)
    total = torch.cat([torch.logaddexp(stayed_blank, stayed_token), grown], dim=1)
    chosen = total.topk(size, dim=1).indices
    chosen = torch.where(active, chosen, torch.arange(size, device=chosen.device))
    stays = chosen < size
    kept, place = chosen.clamp(max=size - 1), (chosen - size).clamp(min=0)
    parent = torch.where(stays, kept, place // tokens.size(1))
    token = tokens.gather(1, place % tokens.size(1)).masked_fill(stays, _STAY)
    moved = _Beams(
        stayed_blank.gather(1, kept).masked_fill(~stays, -torch.inf),
        torch.where(stays, stayed_token.gather(1, kept), grown.gather(1, place)),
        torch.where(stays, beams.last.gather(1, kept), token),
        torch.where(stays, beams.number.gather(1, kept), number.gather(1, place)),
    )
    held = (torch.where(active, new, old) for new, old in _both(moved, beams))
    return _numbered(_Beams(*held)), parent, token


def _both(one: _Beams, other: _Beams) -> list[tuple[Tensor, Tensor]]:
    return list(zip(vars(one).values(), vars(other).values(), strict=True))


def _traced(
    beams: _Beams, steps: list[tuple[Tensor, Tensor]], lengths: Tensor, count: int
) -> Hypotheses:
    """Follow each prefix back to its tokens."""
    total, place = beams.total.topk(count, dim=1)  # [B, H]
    there = total.isfinite() & (lengths > 0).unsqueeze(1)
    rows = []
    for parent, token in reversed(steps):
        rows.append(token.gather(1, place))
        place = parent.gather(1, place)
    path = torch.stack(rows[::-1], dim=2) if rows else total.new_zeros((*total.shape, 0)).long()
    utterance, which = torch.nonzero(there, as_tuple=True)
    paths = path[utterance, which].tolist()
    return Hypotheses(utterance, [[t for t in row if t != _STAY] for row in paths])


def path_scores(log_probs: Tensor, lengths: Tensor, found: Hypotheses, blank: int = 0) -> Tensor:
    """Log-probability [M] of each hypothesis over all its alignments, with a gradient.

    Parameters
    ----------
    log_probs : [B, T, V], as of ``prefix_beams``.
    lengths : [B], valid frames.
    found : M hypotheses of the batch.
    blank : id of the blank.
    """
    if not found.tokens:  # CTC of nothing is an error
        return log_probs.new_zeros(0)
    sizes = torch.tensor([len(row) for row in found.tokens])
    joined = torch.tensor([token for row in found.tokens for token in row], dtype=torch.int64)
    return -nn.functional.ctc_loss(
        log_probs[found.utterance].transpose(0, 1),
        joined.to(log_probs.device),
        lengths[found.utterance].to("cpu"),
        sizes,
        blank,
        reduction="none",
    )
