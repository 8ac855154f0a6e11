"""A learning rate for each part of a student."""

from __future__ import annotations

from typing import Any

from torch import nn

from distill_asr.config import nearest


def parameter_groups(model: nn.Module, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: first what keeps the common rate, then one a part.

    Parameters
    ----------
    rates : by part, the beginning of parameter names up to a dot, e.g. ``encoder``; of two that
        fit, the longer one counts.

    Raises
    ------
    ValueError : a part that the model does not have, or a rate that is none.
    """
    groups: dict[str | None, list[nn.Parameter]] = {None: [], **{part: [] for part in rates}}
    for name, parameter in model.named_parameters():
        fitting = [part for part in rates if f"{name}.".startswith(f"{part}.")]
        groups[max(fitting, key=len, default=None)].append(parameter)
    for part, rate in rates.items():
        if type(rate) not in (int, float) or not rate >= 0:
            raise ValueError(f"{part}: {rate!r}, expected a number of 0 or more")
        if not groups[part]:
            parts = [name for name, _ in model.named_children()]
            raise ValueError(f"{part}: no parameters of that name{nearest(part, parts)}")
    common = [{"params": groups[None]}] if groups[None] else []
    return common + [{"params": groups[part], "lr": rate} for part, rate in rates.items()]
