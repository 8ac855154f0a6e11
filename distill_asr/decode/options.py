"""How to search: what the verbs that recognise are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from distill_asr.experiments.layout import AVERAGED

Method = Literal["beam", "greedy"]


@dataclass(frozen=True)
class FusionOptions:
    """A language model for shallow fusion: the directory of its training, and its weight."""

    directory: Path
    checkpoint: str = AVERAGED
    weight: float = 0.3


@dataclass(frozen=True)
class DecodeOptions:
    """How to search.

    Parameters
    ----------
    method : ``greedy`` takes the best symbol at every step.
    beam_size : hypotheses followed.
    nbest : hypotheses kept.
    ctc_weight : share of CTC in the score of a hybrid student.
    chunk_size : encoder frames, 0 for full context; None: as the student was trained.
    batch_size : utterances that a transducer's greedy search takes at a time.
    timestamps : find the frame of every token where beam search would not say.
    device : of torch.
    fusion : a language model, for beam search.
    """

    method: Method = "beam"
    beam_size: int = 5
    nbest: int = 1
    ctc_weight: float = 0.3
    chunk_size: int | None = None
    batch_size: int = 32
    timestamps: bool = False
    device: str = "cpu"
    fusion: FusionOptions | None = None

    @property
    def beam(self) -> int:
        """Hypotheses followed by the method chosen."""
        return 1 if self.method == "greedy" else self.beam_size

    def with_timestamps(self) -> DecodeOptions:
        """The same search, which finds frames too."""
        return replace(self, timestamps=True)

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verbs' options."""
        problems = [
            f"{option} {value}: expected at least 1"
            for option, value in (
                ("--beam-size", self.beam_size),
                ("--nbest", self.nbest),
                ("--batch-size", self.batch_size),
            )
            if value < 1
        ]
        if not 0 <= self.ctc_weight <= 1:
            problems.append(f"--ctc-weight {self.ctc_weight}: expected between 0 and 1")
        if (self.chunk_size or 0) < 0:
            problems.append(
                f"--chunk-size {self.chunk_size}: expected frames, or 0 for full context"
            )
        if self.fusion is not None:
            if not 0 <= self.fusion.weight < math.inf:
                problems.append(f"--lm-weight {self.fusion.weight}: expected 0 or more")
            if self.method == "greedy":
                problems.append("--lm: greedy search takes no language model; use --method beam")
        return problems

    def deciding(self) -> dict[str, Any]:
        """The values that decide what is found, for a decoding's record."""
        found: dict[str, Any] = {
            "method": self.method,
            "beam_size": self.beam_size,
            "nbest": self.nbest,
            "ctc_weight": self.ctc_weight,
        }
        if self.chunk_size is not None:
            found["chunk_size"] = self.chunk_size
        if self.timestamps:
            found["timestamps"] = True
        return found
