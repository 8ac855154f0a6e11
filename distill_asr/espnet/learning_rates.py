"""A learning rate for each part of a student."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from distill_asr.errors import nearest

PROBING_STEPS = 3


def parameter_groups(model: nn.Module, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: first what keeps the common rate, then one a part.

    Parameters
    ----------
    rates : by part, the beginning of parameter names up to a dot, e.g. ``encoder``; of two that
        fit, the longer one counts.

    Raises
    ------
    ValueError : a part that the model does not have, or an invalid rate.
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


def scheduler_keeps_them(optimizer: torch.optim.Optimizer, scheduler: str, conf: dict) -> bool:
    """Whether each group's rate follows its own start, and not one rate of the scheduler's.

    Some schedulers, ESPnet's CosineAnnealingWarmupRestarts among them, give all groups the same.

    Parameters
    ----------
    optimizer : with groups of unlike rates; they are changed.
    scheduler : ESPnet's name.
    conf : its arguments.
    """
    from espnet2.tasks.abs_task import scheduler_classes

    started = [group["lr"] for group in optimizer.param_groups]
    with warnings.catch_warnings():  # steps without an update
        warnings.simplefilter("ignore")
        stepped = scheduler_classes[scheduler.lower()](optimizer, **conf)
        if not isinstance(stepped, torch.optim.lr_scheduler.ReduceLROnPlateau):
            for _ in range(PROBING_STEPS):
                stepped.step()
    now = [group["lr"] for group in optimizer.param_groups]
    return len(set(started)) == len(set(now))
