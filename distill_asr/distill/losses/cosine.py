"""Cosine distance."""

import torch
from torch import Tensor

from distill_asr.distill.contracts import Loss


class Cosine(Loss):
    """``1 - cos(student, teacher)`` per pair; the norms do not matter."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[N, E], [N, E] -> [N]."""
        return 1.0 - torch.cosine_similarity(student, teacher, dim=-1)
