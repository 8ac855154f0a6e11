"""What makes training steps shorter on a CPU; other devices keep torch's own ways.

The sums of a step are the same, in another order, and masks of dropout are drawn otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16  # of the 16 random bits that decide on a number
ALL_BITS = (-(1 << 63), None)  # of an int64


class BitDropout(nn.Dropout):
    """Dropout whose masks take 16 random bits a number, from torch's generator as well.

    Torch draws 64 bits for each, one after the other, which takes a tenth of a small student's
    step. The share that is kept is a multiple of 1/65536, and what is kept is scaled by it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Dropout``, which it is outside training and on other devices."""
        kept = round(LEVELS * (1 - self.p))
        if not self.training or self.inplace or input.device.type != "cpu" or kept in (0, LEVELS):
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(*ALL_BITS)
        levels = drawn.view(torch.int16)[: input.numel()].view(input.shape)
        mask = (levels < kept - LEVELS // 2).to(input.dtype)
        return input * mask.mul_(LEVELS / kept)


def shorten_steps(student: nn.Module) -> None:
    """Have a student draw quicker masks, and its convolutions keep their channels last.

    Parameters
    ----------
    student : its parameters, their names and their layout stay as they are.
    """
    for parent in student.modules():
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, BitDropout(child.p, child.inplace).train(child.training))
    for module in student.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1 and _takes_one_channel(module[0]):
            module.register_forward_pre_hook(_channels_last)


def update_in_one_pass(optimizer: torch.optim.Optimizer) -> None:
    """Have Adam go once through its numbers, where torch goes through them for each of its sums.

    The same update within rounding. What the config says of ``foreach`` or ``fused`` stays.
    """
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return
    for group in optimizer.param_groups:
        on_cpu = all(weight.device.type == "cpu" for weight in group["params"])
        if on_cpu and group["foreach"] is None and group["fused"] is None:
            group["fused"] = True


def _takes_one_channel(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == 1


def _channels_last(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """The same [B, 1, T, F], with the strides by which oneDNN knows that channels are last."""
    (features,) = inputs
    if not module.training or features.device.type != "cpu" or features.dim() != 4:
        return None
    return (features.squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2),)
