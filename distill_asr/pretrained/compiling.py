"""A model's parts compiled by torch, which joins what lies between its matrix products."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from distill_asr.errors import UserError

VERSIONS = 64  # of one function; torch's 8 are too few for convolutions of several widths


def compile_parts(parts: Iterable[nn.Module], where: str, device: str) -> None:
    """Have each part compiled at its first call, for batches of any size.

    Parts of one class share what is compiled. Torch keeps it on disk for the next process, see
    ``TORCHINDUCTOR_CACHE_DIR``.

    Parameters
    ----------
    parts : of a frozen model, changed in place.
    where : begins the message.
    device : of torch, where the model is.

    Raises
    ------
    UserError : torch cannot compile here, as without a C compiler.
    """
    try:
        torch.compile(lambda values: values.exp() + 1)(torch.zeros(8, device=device))
    except RuntimeError as error:  # all of its compilers' errors are
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{where}: compile: true given, but torch cannot compile for {device} here ({reason}); "
            "install a C compiler, or remove the key"
        ) from error
    torch._dynamo.config.recompile_limit = VERSIONS
    for part in parts:
        part.compile(dynamic=True)
