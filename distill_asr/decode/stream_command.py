"""``distill-asr stream``: words while the audio comes in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from distill_asr.errors import UserError
from distill_asr.experiments.layout import AVERAGED

if TYPE_CHECKING:
    from torch import Tensor

    from distill_asr.decode.streaming import Recognised

STDIN = "-"
SAMPLE = 2  # bytes of a 16-bit sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr stream``."""
    parser.description = (
        "Each line printed: name, seconds of audio heard, partial or final, words; tab-separated."
    )
    parser.add_argument(
        "wav",
        nargs="*",
        default=[STDIN],
        help="mono audio files of any sampling rate; '-', or none: raw PCM on standard input, "
        "16-bit little-endian mono at the student's sampling rate",
    )
    parser.add_argument("--exp", required=True, help="experiment directory")
    parser.add_argument("--checkpoint", default=AVERAGED)
    parser.add_argument(
        "--chunk-size", type=int, metavar="FRAMES", help="default: the one of the student's config"
    )
    parser.add_argument(
        "--piece-ms",
        type=float,
        default=100,
        help="audio handed over at a time",
    )
    parser.add_argument(
        "--endpoint", type=float, default=0.8, metavar="SECONDS",
        help="without a new token that end a segment; 0: only the end of the audio does",
    )  # fmt: skip
    parser.add_argument(
        "--latency", action="store_true", help="report on stderr: speed, delays against alignment"
    )
    parser.add_argument("--device", default="cpu")


def run(args: argparse.Namespace) -> int:
    """Recognise each file, or standard input, printing as words come."""
    from distill_asr.decode.latency import Latency, TimedUtterance
    from distill_asr.decode.streaming import StreamingSession, streaming_problems
    from distill_asr.decode.text import TokenText
    from distill_asr.experiments.student import load_student

    _check_options(args)
    student, config = load_student(args.exp, args.checkpoint, args.device)
    if problems := streaming_problems(student, args.chunk_size):
        raise UserError([f"{config.file}: {problem}" for problem in problems])
    to_words, rate = TokenText(config), config.rate
    latency = Latency()
    for name in args.wav:
        session = StreamingSession(student, to_words, rate, args.chunk_size, args.endpoint or None)
        timed, heard = TimedUtterance(session), []
        for piece in _pieces(name, rate, args.piece_ms):
            _print(name, timed.push(piece))
            if args.latency:
                heard.append(piece)
        _print(name, timed.finish())
        if args.latency:
            timed.add_to(latency, student, _joined(heard), rate)
    if args.latency:
        print(*latency.lines(), sep="\n", file=sys.stderr)
    return 0


def _print(name: str, results: Iterable[Recognised]) -> None:
    for result in results:
        kind = "final" if result.final else "partial"
        print(name, f"{result.heard:.2f}", kind, result.text, sep="\t", flush=True)


def _pieces(name: str, rate: int, piece_ms: float) -> Iterator[Tensor]:
    """[n] samples at a time."""
    size = max(1, round(rate * piece_ms / 1000))
    if name == STDIN:
        yield from pcm_pieces(sys.stdin.buffer, size)
    else:
        yield from _speech(name, rate).split(size)


def _speech(path: str, rate: int) -> Tensor:
    """A file's samples [n] at the student's rate, resampled as ``prepare`` does."""
    import numpy as np
    import torch

    from distill_asr.io.audio import BadAudioError, read_audio, resample

    try:
        samples, facts = read_audio(path)
    except BadAudioError as error:
        raise UserError(f"{path}: {error.kind}: {error.detail}") from error
    if facts.rate != rate:
        samples = np.clip(resample(samples, facts.rate, rate), -1.0, 1.0)
    return torch.from_numpy(samples)


def pcm_pieces(stream: BinaryIO, size: int) -> Iterator[Tensor]:
    """16-bit little-endian samples as they arrive, [n] in [-1, 1], n at most ``size``.

    A sample may come in two parts; half of one at the end is dropped.
    """
    import numpy as np
    import torch

    held = b""
    read = getattr(stream, "read1", stream.read)  # what is there, instead of waiting for all
    while data := read(size * SAMPLE):
        data = held + data
        whole = len(data) // SAMPLE * SAMPLE
        held = data[whole:]
        samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.float32)
        yield torch.from_numpy(samples / 2**15)


def _joined(pieces: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(pieces) if pieces else torch.zeros(0)


def _check_options(args: argparse.Namespace) -> None:
    problems = [f"{name}: no such file" for name in args.wav if not _exists(name)]
    if args.wav.count(STDIN) > 1:
        problems.append("'-' given more than once: standard input can be read only once")
    if args.chunk_size is not None and args.chunk_size < 1:
        problems.append(f"--chunk-size {args.chunk_size}: expected at least 1 frame to stream")
    if args.piece_ms <= 0:
        problems.append(f"--piece-ms {args.piece_ms}: expected more than 0")
    if args.endpoint < 0:
        problems.append(f"--endpoint {args.endpoint}: expected seconds, or 0 for none")
    if problems:
        raise UserError(problems)


def _exists(name: str) -> bool:
    return name == STDIN or Path(name).is_file()
