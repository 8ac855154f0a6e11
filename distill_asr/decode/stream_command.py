"""``distill-asr stream``: words while the audio comes in."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from distill_asr.decode.options import FORMS, STDIN, StreamOptions
from distill_asr.decode.search_arguments import add_student_arguments
from distill_asr.errors import UserError

if TYPE_CHECKING:
    from distill_asr.decode.recognised import Recognised

SAMPLE = 2  # bytes of a 16-bit sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr stream``."""
    parser.description = (
        "Prints tab-separated lines: name, seconds of audio so far, partial or final, words."
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
        "--form",
        choices=FORMS,
        default=FORMS[0],
        help="form of the models of the export, with --runtime onnx",
    )
    parser.add_argument(
        "--align-with", metavar="EXP",
        help="experiment whose CTC aligns the words, with --runtime onnx --latency; default: the "
            "exported one",
    )  # fmt: skip
    add_student_arguments(parser)
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


def run(args: argparse.Namespace) -> int:
    """Recognise each file, or standard input, printing as words come."""
    given = {one.name: getattr(args, one.name) for one in fields(StreamOptions)}
    options = StreamOptions(**given | {"wav": tuple(args.wav)})
    if problems := options.problems():
        raise UserError(problems)
    runtime = _onnx(options) if options.runtime == "onnx" else _torch(options)
    if options.latency:
        _run_timed(options, runtime)
        return 0
    for name in options.wav:
        session = runtime.start()
        for piece in _pieces(name, runtime.rate, options.piece_ms):
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


def _torch(options: StreamOptions) -> Runtime:
    import distill_asr.espnet  # noqa: F401  first, since it imports ESPnet silently
    from distill_asr.decode.streaming import StreamingSession, streaming_problems
    from distill_asr.decode.text import TokenText
    from distill_asr.experiments.student import load_student

    student, config = load_student(options.exp, options.checkpoint, options.device)
    if problems := streaming_problems(student, options.chunk_size):
        raise UserError([f"{config.file}: {problem}" for problem in problems])
    to_words, rate, endpoint = TokenText(config), config.rate, options.endpoint or None

    def start() -> StreamingSession:
        return StreamingSession(student, to_words, rate, options.chunk_size, endpoint)

    return Runtime(rate, start, lambda: student)


def _onnx(options: StreamOptions) -> Runtime:
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            "--runtime onnx: onnxruntime is not installed; pip install 'distill_asr[export]'"
        )
    from distill_asr.decode.onnx_session import OnnxSession, open_export

    recogniser = open_export(options.exp, options.form)
    facts, endpoint = recogniser.facts, options.endpoint or None

    def aligner() -> Any:
        from distill_asr.experiments.student import load_student

        exp = options.align_with or facts["experiment"]
        if not Path(exp).is_dir():
            raise UserError(
                f"--latency: {exp}, of which {options.exp} was exported, is not there; name it "
                "with --align-with EXP"
            )
        return load_student(exp, facts["checkpoint"]["name"])[0]

    return Runtime(facts["sample_rate"], lambda: OnnxSession(recogniser, endpoint), aligner)


def _run_timed(options: StreamOptions, runtime: Runtime) -> None:
    import torch

    from distill_asr.decode.latency import Latency, TimedUtterance

    student, latency = runtime.aligner(), Latency()
    for name in options.wav:
        timed, heard = TimedUtterance(runtime.start()), [np.zeros(0, np.float32)]
        for piece in _pieces(name, runtime.rate, options.piece_ms):
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
