"""L1 regression (stage 1 of arXiv 2303.10917)."""

from torch import Tensor

from distill_asr.distill.contracts import Loss
from distill_asr.distill.losses.reduce import checked_reduce_dim, reduce_width


class L1(Loss):
    """Absolute error per pair.

    Parameters
    ----------
    reduce_dim : ``mean`` or ``sum`` over the width.
    """

    def __init__(self, reduce_dim: str = "mean") -> None:
        super().__init__()
        self.reduce_dim = checked_reduce_dim(reduce_dim)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[N, E], [N, E] -> [N]."""
        return reduce_width((student - teacher).abs(), self.reduce_dim)
