"""How to search: what the verbs that recognise are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distill_asr.decode.labels import LabelLimits
from distill_asr.experiments.layout import AVERAGED

Method = Literal["beam", "greedy"]
STDIN = "-"
FORMS = ("fp32", "int8", "fp16")  # of the models of an export


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
    timestamps : also find the frame of every token in a beam search.
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


@dataclass(frozen=True)
class StreamOptions:
    """What listens, to what, and when it ends a segment.

    Parameters
    ----------
    exp : experiment directory, or that of an export.
    wav : audio files, or ``-`` for standard input.
    runtime : ``onnx`` runs an export.
    form : which models of the export.
    align_with : experiment whose CTC aligns, for the latency report of an export.
    checkpoint, chunk_size, device : of a student; see ``DecodeOptions``.
    piece_ms : milliseconds of audio that are passed on at a time.
    endpoint : seconds without a new token that end a segment; 0: never.
    latency : whether speed and delays are reported.
    """

    exp: str
    wav: tuple[str, ...] = (STDIN,)
    runtime: Literal["torch", "onnx"] = "torch"
    form: str = FORMS[0]
    align_with: str | None = None
    checkpoint: str = AVERAGED
    chunk_size: int | None = None
    device: str = DecodeOptions.device
    piece_ms: float = 100
    endpoint: float = 0.8
    latency: bool = False

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verb's options."""
        missing = [name for name in self.wav if name != STDIN and not Path(name).is_file()]
        problems = [f"{name}: no such file; correct the path" for name in missing]
        if self.wav.count(STDIN) > 1:
            problems.append(
                "'-' given more than once: standard input can be read only once; remove one"
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            problems.append(f"--chunk-size {self.chunk_size}: expected at least 1 frame to stream")
        if self.piece_ms <= 0:
            problems.append(f"--piece-ms {self.piece_ms}: expected more than 0")
        if self.endpoint < 0:
            problems.append(f"--endpoint {self.endpoint}: expected seconds, or 0 to switch it off")
        return problems + self._misplaced()

    def _misplaced(self) -> list[str]:
        """Options of the other runtime."""
        onnx = self.runtime == "onnx"
        names = ("form", "align_with") if not onnx else ("chunk_size", "checkpoint", "device")
        other = "torch: an export has one of its own" if onnx else "onnx"
        return [
            f"--{name.replace('_', '-')}: is an option of --runtime {other}"
            for name in names
            if getattr(self, name) != getattr(type(self), name)
        ]


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Who transcribes what, and which utterances are kept; ``lowest`` or ``share`` at most.

    Parameters
    ----------
    data, output : prepared data dirs, read and written.
    experiment : directory of the recogniser; None: ``teacher`` describes it.
    teacher, overrides : files of a teacher of ``output: words``, and ``KEY.PATH=VALUE`` over them.
    checkpoint, search : of an experiment.
    agree : another recogniser, of either kind, whose words must be similar.
    normalise_as : words are written as this dir's transcripts; None: as those of ``data``.
    reference : true transcripts, to measure the labels' error rate; None: ``text`` of the data.
    lowest : confidence to keep, at most 0.
    share : of the utterances with words, the most confident ones.
    limits : what their words may be like.
    """

    data: Path
    output: Path
    experiment: Path | None
    search: DecodeOptions
    teacher: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    checkpoint: str = AVERAGED
    agree: Path | None = None
    normalise_as: Path | None = None
    reference: Path | None = None
    lowest: float | None = None
    share: float | None = None
    limits: LabelLimits = field(default_factory=LabelLimits)

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verb's options."""
        problems = []
        if self.share is not None and not 0 < self.share <= 1:
            problems.append(f"--keep-best {self.share}: expected a share, over 0 and at most 1")
        if self.lowest is not None and not -math.inf < self.lowest <= 0:
            problems.append(
                f"--min-confidence {self.lowest}: expected the logarithm of a probability, 0 or "
                "less"
            )
        problems += self.limits.problems()
        if self.overrides and self.experiment is not None:
            problems.append("--set: changes the file of --teacher; --exp has none")
        if (self.agree is None) != (self.limits.disagreement is None):
            problems.append("--agree and --max-disagreement: each needs the other")
        if self.output.resolve() == self.data.resolve():
            problems.append(f"--data and --output are both {self.data}; give another --output")
        return problems

    def deciding(self) -> dict[str, object]:
        """What the choice depends on, for the record."""
        chosen = {"min_confidence": self.lowest, "keep_best": self.share}
        return chosen | self.limits.deciding()
