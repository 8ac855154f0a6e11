"""Codes of teacher states made states again, on the device where a batch has them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from distill_asr.targets.codebooks import Codebooks

ZERO = 128  # the byte of an int8 of 0

CPU = torch.device("cpu")


class CodeReader:
    """Turns codes back into teacher states on the device where the codes are.

    So a batch carries a byte or so a code and not the states. No module: the codebooks come with
    the targets at every start, and do not belong to a checkpoint or to other devices.
    """

    def __init__(self, codebooks: Codebooks) -> None:
        self._codebooks = codebooks
        count, entries, _ = codebooks.entries.shape
        self._first = torch.arange(count, dtype=torch.int32) * entries
        self._std, self._mean = (torch.from_numpy(a) for a in (codebooks.std, codebooks.mean))
        self._bytes = byte_rows(codebooks)
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}  # one copy a device

    def __call__(self, codes: Tensor) -> Tensor:
        """[B, S, C] -> float32 [B, S, E]; padding, negative, gives any states."""
        rows = codes.clamp(min=0).int() + self._first.to(codes.device)
        states = self._from_bytes if codes.device == CPU else self._from_floats
        return states(rows.flatten(0, 1)).unflatten(0, codes.shape[:2])

    def _from_bytes(self, rows: Tensor) -> Tensor:
        """[N, C] rows of the table -> [N, E]; a CPU reads a quarter of what floats would be."""
        bags = torch.arange(0, rows.numel(), rows.size(1), dtype=rows.dtype)
        states = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
            self._bytes, rows.flatten(), bags
        )
        return torch.addcmul(self._mean, states, self._std, out=states)

    def _from_floats(self, rows: Tensor) -> Tensor:
        """[N, C] rows of the table -> [N, E]."""
        device = rows.device
        if device not in self._tables:  # several devices may ask at the same time
            table = self._codebooks.centers() * self._codebooks.std
            flat = torch.from_numpy(table).flatten(0, 1)
            self._tables[device] = flat.to(device), self._mean.to(device)
        table, mean = self._tables[device]
        return nn.functional.embedding_bag(rows, table, mode="sum") + mean


def byte_rows(codebooks: Codebooks) -> Tensor:
    """uint8 [C x K, E + 8]: each entry as bytes, then what one level is worth and the lowest value.

    The form of FBGEMM's "8-bit rowwise" tables: a number is ``byte * scale + lowest``.
    """
    levels = codebooks.entries.reshape(-1, codebooks.width).astype(np.int16) + ZERO
    scales = codebooks.scales.reshape(-1, 1)
    ends = np.concatenate([scales, -ZERO * scales], axis=1).view(np.uint8)
    return torch.from_numpy(np.concatenate([levels.astype(np.uint8), ends], axis=1))
