"""Reduction over the width, shared by the element-wise losses."""

from torch import Tensor

REDUCE_DIM = ("mean", "sum")


def checked_reduce_dim(reduce_dim: str) -> str:
    """Return ``reduce_dim`` if it is one of the reductions.

    Raises
    ------
    ValueError : neither ``mean`` nor ``sum``.
    """
    if reduce_dim not in REDUCE_DIM:
        raise ValueError(f"reduce_dim must be one of {REDUCE_DIM}, not {reduce_dim!r}")
    return reduce_dim


def reduce_width(elements: Tensor, reduce_dim: str) -> Tensor:
    """[N, E] -> [N], the mean or the sum over the width.

    Parameters
    ----------
    elements : [N, E], a loss for each dimension.
    reduce_dim : ``sum``; anything else is the mean.
    """
    return elements.sum(dim=-1) if reduce_dim == "sum" else elements.mean(dim=-1)
