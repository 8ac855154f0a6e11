"""Facts about the teachers of a training: a record on disk, and what distillers take from it.

Legend: E teacher width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_asr.io.tables import read_table
from distill_asr.targets.codebooks import Codebooks


@dataclass(frozen=True)
class TeacherFacts:
    """Facts of a target manifest about its teacher, as far as a distiller needs them."""

    width: int  # E
    step_ms: float | None  # None for token-level teachers
    mean: Tensor | None = None  # [E]
    std: Tensor | None = None  # [E]
    codebooks: Codebooks | None = None  # where the targets are codes
    texts: Mapping[str, str] | None = None  # what it read, by utterance, where a matcher asks
    layers: tuple[int, ...] = ()  # side by side in the width, where a block chooses among them


@dataclass(frozen=True)
class TeacherRecord:
    """A teacher's entry under ``distill_teachers`` of a resolved config: facts, and where they lie.

    Written when a training starts, read by the process that trains, by the loader's side of it,
    and by a run that continues.
    """

    width: int  # E
    step_ms: float | None  # duration of a step; None on token level
    statistics: str | None = None  # an .npz with ``mean`` and ``std`` [E]
    codebooks: str | None = None  # a file of the targets, where they are codes
    texts: str | None = None  # a table of the sentences that it read, by utterance
    online: dict[str, Any] | None = None  # the whole config of a teacher that runs in the step
    layers: list[int] | None = None  # side by side in the width, where a block chooses among them

    def to_mapping(self) -> dict[str, Any]:
        """Plain YAML, without what is not there."""
        optional = {name: value for name, value in asdict(self).items() if value is not None}
        return {"width": self.width, "step_ms": self.step_ms, **optional}

    def load(self) -> TeacherFacts:
        """Read the files that it names."""
        mean = std = None
        if self.statistics is not None:
            with np.load(Path(self.statistics), allow_pickle=False) as arrays:
                mean, std = (
                    torch.from_numpy(arrays[key].astype(np.float32)) for key in ("mean", "std")
                )
        return TeacherFacts(
            self.width,
            self.step_ms,
            mean,
            std,
            Codebooks.load(self.codebooks) if self.codebooks else None,
            read_table(Path(self.texts)) if self.texts else None,
            tuple(self.layers or ()),
        )
