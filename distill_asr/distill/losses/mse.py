"""Squared error (Distill-L2S, arXiv 2206.12638; linguistic level of arXiv 2301.13003)."""

from torch import Tensor

from distill_asr.distill.contracts import Loss
from distill_asr.distill.losses.reduce import checked_reduce_dim, reduce_width


class MSE(Loss):
    """Squared error per pair.

    Parameters
    ----------
    reduce_dim : ``mean`` or ``sum`` over the width; a weight w with ``sum`` equals w * E with
        ``mean``.
    """

    def __init__(self, reduce_dim: str = "mean") -> None:
        super().__init__()
        self.reduce_dim = checked_reduce_dim(reduce_dim)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[N, E], [N, E] -> [N]."""
        return reduce_width((student - teacher).square(), self.reduce_dim)
