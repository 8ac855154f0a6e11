"""How long a user waits for the first token of a stream, in each runtime: parts of other scripts.

Legend: S samples.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from distill_asr.decode.streaming import StreamingSession
from distill_asr.experiments.export.recognise import Recogniser, Stream
from distill_asr.experiments.export.sherpa import SherpaRecogniser

RATE = 16000
PIECE = RATE // 50  # 20 ms
Push = Callable[[np.ndarray], float | None]
"""Takes more samples [S]; gives when the first token's frame begins, once there is a token."""


@dataclass(frozen=True)
class FirstToken:
    """When an utterance's first token came, in seconds.

    Parameters
    ----------
    waited : from the begin of its encoder frame to the last sample that was needed.
    computing : processor time from then on.
    """

    waited: float
    computing: float


def first_token(push: Push, samples: np.ndarray) -> FirstToken | None:
    """Hand over pieces of [S] until there is a token; None where none comes."""
    for begin in range(0, len(samples), PIECE):
        start = time.process_time()
        frame = push(samples[begin : begin + PIECE])
        if frame is not None:
            return FirstToken((begin + PIECE) / RATE - frame, time.process_time() - start)
    return None


def delays(student: nn.Module, out: Path, speech: Sequence[np.ndarray]) -> dict[str, str]:
    """Medians over utterances [S] by runtime, for a student and its export that streams."""
    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))
    begin: dict[str, Callable[[], Push]] = {"PyTorch": lambda: torch_push(student, facts["unk"])}
    for form in ("fp32", "int8"):
        own = Recogniser(out, form)
        begin[f"onnxruntime {form}"] = lambda one=own: onnx_push(one)
        if facts["sherpa"]:
            other = SherpaRecogniser(out, facts, form)
            begin[f"sherpa-onnx {form}"] = lambda one=other: sherpa_push(one)
    return {name: median_delay([first_token(start(), one) for one in speech])
            for name, start in begin.items()}  # fmt: skip


def median_delay(found: Iterable[FirstToken | None]) -> str:
    """Milliseconds waited for audio, and for the processor."""
    known = [one for one in found if one is not None]
    if not known:
        return "no token"
    waited = statistics.median(one.waited for one in known)
    computing = statistics.median(one.computing for one in known)
    return f"{1000 * waited:.0f} + {1000 * computing:.1f}"


def torch_push(student: nn.Module, unknown: int | None) -> Push:
    """A session of PyTorch."""
    session = StreamingSession(student, str, RATE, max_symbols=1)

    def push(samples: np.ndarray) -> float | None:
        for result in session.push(samples):
            for token, begin in zip(result.tokens, result.times, strict=True):
                if token != unknown:  # which runtimes take for the blank
                    return begin
        return None

    return push


def onnx_push(recogniser: Recogniser) -> Push:
    """A stream of ONNX Runtime."""
    stream = Stream(recogniser)
    step = stream.shape["subsampling_factor"] * recogniser.features.options["shift"] / RATE

    def push(samples: np.ndarray) -> float | None:
        stream.push(samples)
        return stream.search.frames[0] * step if stream.search.tokens else None

    return push


def sherpa_push(recogniser: SherpaRecogniser) -> Push:
    """A stream of sherpa-onnx."""
    runtime: Any = recogniser.recogniser
    stream = runtime.create_stream()

    def push(samples: np.ndarray) -> float | None:
        stream.accept_waveform(recogniser.rate, samples)
        while runtime.is_ready(stream):
            runtime.decode_stream(stream)
        return runtime.timestamps(stream)[0] if runtime.tokens(stream) else None

    return push
