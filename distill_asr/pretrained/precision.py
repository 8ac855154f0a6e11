"""In which numbers a teacher computes: float32, or bfloat16 where it pays and is exact enough.

With ``dtype: bfloat16`` the matrix products run in bfloat16. What they are added to does not:
residual sums, norms, and the convolutions that do little of the work but whose error every layer
after them would inherit stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn.utils import parametrize

from distill_asr.errors import UserError
from distill_asr.pretrained.convolutions import keep_dtype
from distill_asr.pretrained.first_convolution import fold_first_norm
from distill_asr.pretrained.kernels import Kernels

LOWERED = "bfloat16"
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them; the last one is ARM's
HEAVY = 0.2  # share of a front's work from which on a convolution is worth lowering


def require_dtype(dtype: str, device: str, where: str) -> None:
    """Refuse bfloat16 where there are no instructions for it.

    Parameters
    ----------
    dtype : ``float32`` or ``bfloat16``.
    device : of torch.
    where : begins the message.

    Raises
    ------
    UserError : the device has none.
    """
    if dtype != LOWERED or has_bfloat16(device):
        return
    raise UserError(
        f"{where}: dtype: {dtype} given, but {device} has no instructions for it (AVX512-BF16 or "
        "AMX of a CPU, compute capability 8.0 of a GPU), so that it would only lose exactness; "
        "write `dtype: float32`"
    )


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies in bfloat16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.backends.mkldnn.is_available() and bool(BF16_FLAGS & _cpu_flags())


def prepare_model(model: nn.Module, dtype: str, device: str) -> nn.Module:
    """Make a model ready for ``computing``, in place: frozen, on its device, weights as needed.

    Call it once the weights have been hashed.

    Parameters
    ----------
    model : with weights in float32.
    dtype : ``float32`` or ``bfloat16``, that of the matrix products.
    device : of torch.
    """
    model.eval().requires_grad_(False)
    for module in list(model.modules()):
        _bake(module)
    if dtype == LOWERED:
        for module in _worth_lowering(model):
            module.to(torch.bfloat16)
    if torch.device(device).type == "cpu":
        fold_first_norm(model)
    elif dtype == LOWERED:
        keep_dtype(model)
    return model.to(device)


@contextmanager
def computing(dtype: str, device: str, compiled: bool = False) -> Iterator[None]:
    """Run a prepared model inside; results of bfloat16 may be of either dtype.

    Parameters
    ----------
    dtype, device : as of ``prepare_model``.
    compiled : its parts are, and torch chooses how each function is computed.
    """
    kind, lowered = torch.device(device).type, dtype == LOWERED
    # rounding to TF32 is for convolutions beside bfloat16 alone; results must not vary between runs
    cudnn = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=lowered)
    autocast = torch.autocast(kind, torch.bfloat16, enabled=lowered)
    kernels = Kernels(lowered) if kind == "cpu" and not compiled else nullcontext()
    with torch.inference_mode(), cudnn, autocast, kernels:
        yield


def relative_error(states: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """Norm of the difference over the norm of what is exact, over all arrays together.

    Parameters
    ----------
    states : arrays [S, E].
    exact : the same ones computed in float32.
    """
    error = sum(
        float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(states, exact, strict=True)
    )
    return (error / sum(float(np.square(b, dtype=np.float64).sum()) for b in exact)) ** 0.5


def _bake(module: nn.Module) -> None:
    """Compute weights that are given by a formula (weight norm) once and for all."""
    if not parametrize.is_parametrized(module):
        return
    for name in list(module.parametrizations):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        value = getattr(module, name).detach().clone()
        delattr(module, name)
        setattr(module, name, nn.Parameter(value, requires_grad=False))


def _worth_lowering(model: nn.Module) -> list[nn.Module]:
    conv1d = transformers.pytorch_utils.Conv1D  # a linear layer, despite its name
    found: list[nn.Module] = [
        module
        for module in model.modules()
        if isinstance(module, (nn.Linear, conv1d))
        or (isinstance(module, nn.Conv1d) and module.kernel_size == (1,))
    ]
    front = getattr(getattr(model, "feature_extractor", None), "conv_layers", ())
    work, step = {}, 1
    for convolution in (layer.conv for layer in front):
        step *= convolution.stride[0]
        work[convolution] = convolution.weight.numel() / step
    return found + [c for c, share in work.items() if share >= HEAVY * sum(work.values())]


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return set()
