"""L1 and cosine together (DistilHuBERT, arXiv 2110.01900, eq. 1)."""

import torch
from torch import Tensor, nn

from distill_asr.distill.contracts import Loss


class L1Cosine(Loss):
    """``mean |s - t| - cosine_weight * log sigmoid(cos(s, t))`` per pair.

    Never zero: at student = teacher the second term is ``cosine_weight * log(1 + 1/e)``.

    Parameters
    ----------
    cosine_weight : factor of the cosine term.
    """

    def __init__(self, cosine_weight: float = 1.0) -> None:
        super().__init__()
        self.cosine_weight = cosine_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[N, E], [N, E] -> [N]."""
        similarity = torch.cosine_similarity(student, teacher, dim=-1)
        distance = (student - teacher).abs().mean(dim=-1)
        return distance - self.cosine_weight * nn.functional.logsigmoid(similarity)
