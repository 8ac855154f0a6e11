"""``distill-asr stream``: words while the audio comes in."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from distill_asr.errors import UserError
from distill_asr.experiments.layout import AVERAGED

if TYPE_CHECKING:
    from distill_asr.decode.recognised import Recognised

STDIN = "-"
FORMS = ("fp32", "int8", "fp16")
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
    parser.add_argument(
        "--exp", required=True, help="experiment directory; with --runtime onnx that of an export"
    )
    parser.add_argument(
        "--runtime", choices=["torch", "onnx"], default="torch",
        help="onnx: a directory of `distill-asr export --streaming`, without PyTorch",
    )  # fmt: skip
    parser.add_argument(
        "--form", choices=FORMS, default=FORMS[0], help="onnx: which models of the export"
    )
    parser.add_argument(
        "--align-with", metavar="EXP",
        help="onnx, --latency: experiment whose CTC aligns; default: the one that was exported",
    )  # fmt: skip
    parser.add_argument("--checkpoint", default=AVERAGED, help="weights file (%(default)s)")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="FRAMES",
        help="frames of a chunk; default: as in training",
    )
    parser.add_argument(
        "--piece-ms",
        type=float,
        default=100,
        help="milliseconds of audio that are passed on at a time (%(default)s)",
    )
    parser.add_argument(
        "--endpoint", type=float, default=0.8, metavar="SECONDS",
        help="seconds without a new token that end a segment; 0: never (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--latency", action="store_true", help="report speed and delays on stderr")
    parser.add_argument("--device", default="cpu", help="device, such as cuda (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Recognise each file, or standard input, printing as words come."""
    _check_options(args)
    runtime = _onnx(args) if args.runtime == "onnx" else _torch(args)
    if args.latency:
        _run_timed(args, runtime)
        return 0
    for name in args.wav:
        session = runtime.start()
        for piece in _pieces(name, runtime.rate, args.piece_ms):
            _print(name, session.push(piece))
        _print(name, session.finish())
    return 0


@dataclass(frozen=True)
class Runtime:
    """What listens.

    Parameters
    ----------
    rate : of its audio, in Hz.
    start : a fresh session, which takes numpy's arrays.
    aligner : loads the student whose CTC aligns, for the latency report.
    """

    rate: int
    start: Callable[[], Any]
    aligner: Callable[[], Any]


def _torch(args: argparse.Namespace) -> Runtime:
    import distill_asr.espnet  # noqa: F401  first, since it imports ESPnet silently
    from distill_asr.decode.streaming import StreamingSession, streaming_problems
    from distill_asr.decode.text import TokenText
    from distill_asr.experiments.student import load_student

    student, config = load_student(args.exp, args.checkpoint, args.device)
    if problems := streaming_problems(student, args.chunk_size):
        raise UserError([f"{config.file}: {problem}" for problem in problems])
    to_words, rate, endpoint = TokenText(config), config.rate, args.endpoint or None

    def start() -> StreamingSession:
        return StreamingSession(student, to_words, rate, args.chunk_size, endpoint)

    return Runtime(rate, start, lambda: student)


def _onnx(args: argparse.Namespace) -> Runtime:
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            "--runtime onnx: onnxruntime is not installed; pip install 'distill_asr[export]'"
        )
    from distill_asr.decode.onnx_session import OnnxSession, open_export

    recogniser = open_export(args.exp, args.form)
    facts, endpoint = recogniser.facts, args.endpoint or None

    def aligner() -> Any:
        from distill_asr.experiments.student import load_student

        exp = args.align_with or facts["experiment"]
        if not Path(exp).is_dir():
            raise UserError(
                f"--latency: {exp}, of which {args.exp} was exported, is not there; give it by "
                "--align-with EXP"
            )
        return load_student(exp, facts["checkpoint"]["name"])[0]

    return Runtime(facts["sample_rate"], lambda: OnnxSession(recogniser, endpoint), aligner)


def _run_timed(args: argparse.Namespace, runtime: Runtime) -> None:
    import torch

    from distill_asr.decode.latency import Latency, TimedUtterance

    student, latency = runtime.aligner(), Latency()
    for name in args.wav:
        timed, heard = TimedUtterance(runtime.start()), [np.zeros(0, np.float32)]
        for piece in _pieces(name, runtime.rate, args.piece_ms):
            _print(name, timed.push(piece))
            heard.append(piece)
        _print(name, timed.finish())
        timed.add_to(latency, student, torch.from_numpy(np.concatenate(heard)), runtime.rate)
    print(*latency.lines(), sep="\n", file=sys.stderr)


def _print(name: str, results: Iterable[Recognised]) -> None:
    for result in results:
        kind = "final" if result.final else "partial"
        print(name, f"{result.heard:.2f}", kind, result.text, sep="\t", flush=True)


def _pieces(name: str, rate: int, piece_ms: float) -> Iterator[np.ndarray]:
    """[n] samples at a time."""
    from distill_asr.decode.speech import read_at

    size = max(1, round(rate * piece_ms / 1000))
    if name == STDIN:
        yield from pcm_pieces(sys.stdin.buffer, size)
    else:
        speech = read_at(name, rate)
        yield from (speech[begin : begin + size] for begin in range(0, len(speech), size))


def pcm_pieces(stream: BinaryIO, size: int) -> Iterator[np.ndarray]:
    """16-bit little-endian samples as they arrive, [n] in [-1, 1], n at most ``size``.

    A sample may come in two parts; half of one at the end is dropped.
    """
    held = b""
    read = getattr(stream, "read1", stream.read)  # what is there, instead of waiting for all
    while data := read(size * SAMPLE):
        data = held + data
        whole = len(data) // SAMPLE * SAMPLE
        held = data[whole:]
        samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.float32)
        yield samples / 2**15


def _check_options(args: argparse.Namespace) -> None:
    problems = [f"{name}: no such file; correct the path" for name in args.wav if not _exists(name)]
    if args.wav.count(STDIN) > 1:
        problems.append("'-' given more than once: standard input can be read only once")
    if args.chunk_size is not None and args.chunk_size < 1:
        problems.append(f"--chunk-size {args.chunk_size}: expected at least 1 frame to stream")
    if args.piece_ms <= 0:
        problems.append(f"--piece-ms {args.piece_ms}: expected more than 0")
    if args.endpoint < 0:
        problems.append(f"--endpoint {args.endpoint}: expected seconds, or 0 for none")
    onnx = args.runtime == "onnx"
    given = (("--chunk-size", args.chunk_size is not None, not onnx),
             ("--checkpoint", args.checkpoint != AVERAGED, not onnx),
             ("--device", args.device != "cpu", not onnx),
             ("--form", args.form != FORMS[0], onnx),
             ("--align-with", args.align_with is not None, onnx))  # fmt: skip
    other = "torch: an export has one of its own" if onnx else "onnx"
    problems += [f"{name}: goes with --runtime {other}" for name, there, fits in given
                 if there and not fits]  # fmt: skip
    if problems:
        raise UserError(problems)


def _exists(name: str) -> bool:
    return name == STDIN or Path(name).is_file()
