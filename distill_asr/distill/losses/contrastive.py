"""Contrastive loss (acoustic level of arXiv 2301.13003)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill_asr.distill.contracts import Loss

_FEW = 0.8  # share of the pairs that are drawn where there are no more than asked for
COSINE_EPS = 1e-6  # of the published code


class Contrastive(Loss):
    """Cosine InfoNCE: a pair's own teacher state against those of other pairs of the batch.

    ``-log(exp(cos(s_i, t_i) / T) / sum_j exp(cos(s_i, t_j) / T))``, where j is i itself and the
    negatives drawn for it. All similarities come from one N x N product, so that no [N, K, E] is
    gathered. Of fewer than two pairs nothing can be learnt: the loss is zero.

    Parameters
    ----------
    temperature : T.
    negatives : K, drawn for each pair from all pairs of the batch, without replacement; where there
        are K pairs or fewer, four fifths of them.
    mask_positive : leave the positive out where it is drawn as a negative of its own.
    mask_same_token : leave out negatives with the same token as the pair.
    """

    def __init__(
        self,
        temperature: float = 0.02,
        negatives: int = 700,
        mask_positive: bool = True,
        mask_same_token: bool = False,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {temperature}")
        if negatives < 1:
            raise ValueError(f"negatives must be 1 or more, not {negatives}")
        self.temperature = temperature
        self.negatives = negatives
        self.mask_positive = mask_positive
        self.needs_tokens = mask_same_token

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        tokens: Tensor | None = None,
        negative_ids: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy of each pair among its negatives, [N], in float32 or better.

        Parameters
        ----------
        student, teacher : [N, E].
        tokens : [N], token of each pair; asked for by ``mask_same_token`` only.
        negative_ids : [N, K], which pairs are the negatives of each; drawn where not given.

        Raises
        ------
        ValueError : ``mask_same_token`` without tokens.
        """
        if self.needs_tokens and tokens is None:
            raise ValueError(
                "contrastive: mask_same_token needs to know the token of each pair; use a matcher "
                "that provides it (match: token), or set mask_same_token: false"
            )
        if negative_ids is None:
            negative_ids = draw_negatives(student.size(0), self.negatives, student.device)
        similarity = cosine_matrix(student, teacher) / self.temperature
        positive = similarity.diagonal().unsqueeze(1)
        masked = self._masked(negative_ids, tokens)
        negative = similarity.gather(1, negative_ids).masked_fill(masked, float("-inf"))
        return (torch.cat([positive, negative], dim=1).logsumexp(1, keepdim=True) - positive)[:, 0]

    def _masked(self, negative_ids: Tensor, tokens: Tensor | None) -> Tensor:
        """Negatives that do not count, [N, K]."""
        own = torch.arange(negative_ids.size(0), device=negative_ids.device).unsqueeze(1)
        positive = negative_ids == own
        masked = positive if self.mask_positive else torch.zeros_like(positive)
        if self.needs_tokens:
            assert tokens is not None  # what ``needs_tokens`` asks for
            masked = masked | ((tokens[negative_ids] == tokens[own]) & ~positive)
        return masked


def draw_negatives(pairs: int, wanted: int, device: torch.device) -> Tensor:
    """For each pair the indices of other pairs, [N, K], itself allowed.

    Parameters
    ----------
    pairs : N.
    wanted : K; 0.8 N are drawn where there are no more pairs than that.
    device : they are drawn there.
    """
    count = wanted if pairs > wanted else int(_FEW * pairs)
    return torch.rand(pairs, pairs, device=device).topk(count, dim=1, sorted=False).indices


def cosine_matrix(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine of every student state with every teacher state, [N, N]; float32 under autocast.

    Parameters
    ----------
    student, teacher : [N, E].
    """
    precision = torch.promote_types(student.dtype, torch.float32)
    with torch.autocast(device_type=student.device.type, enabled=False):
        student = nn.functional.normalize(student.to(precision), dim=1, eps=COSINE_EPS)
        teacher = nn.functional.normalize(teacher.to(precision), dim=1, eps=COSINE_EPS)
        return student @ teacher.T
