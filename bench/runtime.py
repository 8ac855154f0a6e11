"""Size, real-time factor and first-token delay of exported students of 10 or 30 M parameters.

PyTorch, ONNX Runtime and sherpa-onnx recognise the same audio in one process on one core, in turns;
streaming and whole utterances, float32 and int8. Weights are random, so words are too: the blank
is made likely until about as many tokens come out as in speech.

    OMP_NUM_THREADS=1 python bench/runtime.py --size 30
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from first_token import delays

from distill_asr.decode.greedy import TransducerGreedySearch
from distill_asr.decode.streaming import StreamingSession
from distill_asr.experiments.layout import AVERAGED
from distill_asr.experiments.student import load_student
from distill_asr.testing.recognisers import save_recogniser

RATE, VOCABULARY = 16000, 256
TOKENS = ["<blank>", "<unk>", *map(str, range(VOCABULARY - 3)), "<sos/eos>"]
# of conf/student/stream_10m.yaml and stream_30m.yaml, with a stateless predictor
WIDTHS = {10: (144, 320), 30: (256, 512)}
ENCODER = {"attention_heads": 4, "num_blocks": 16, "cnn_module_kernel": 15, "chunk_size": 8,
           "left_frames": 64}  # fmt: skip
CHANGES = {
    "token_list": TOKENS,
    "token_type": "word",
    "frontend_conf": {"n_mels": 80},
    "encoder": "chunked",
}
STREAMING, WHOLE = "streaming", "whole"  # chunks of 320 ms, whole utterances
TOKENS_PER_SECOND = 5.0
BEGINNINGS = 15  # places in the audio where a stream is begun, for the first-token delay


def main() -> int:
    """Print the table."""
    options = parse()
    torch.set_num_threads(1)
    speech = made_up_speech(options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        exp = make_experiment(Path(folder) / "exp", options.size, options.blocks)
        for name in options.forms:
            streaming = name == STREAMING
            out = export(exp, Path(folder) / name, streaming)
            factors = measure(runtimes(exp, out, streaming), speech, options.repeats)
            waits = delays(load_student(exp)[0], out, beginnings(speech)) if streaming else {}
            report(name, out, factors, waits)
    return 0


def parse() -> argparse.Namespace:
    """Options; the defaults take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of audio")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, choices=WIDTHS, default=10, help="million parameters")
    parser.add_argument("--blocks", type=int, default=ENCODER["num_blocks"], help="of the encoder")
    parser.add_argument("--forms", nargs="+", choices=[STREAMING, WHOLE],
                        default=[STREAMING, WHOLE])  # fmt: skip
    return parser.parse_args()


def made_up_speech(seconds: int) -> np.ndarray:
    """[samples] of tones that change ten times a second, in noise."""
    rng = np.random.default_rng(0)
    now = np.arange(seconds * RATE)
    pitch = 100 + 4000 * rng.uniform(size=10 * seconds)[now // (RATE // 10)]
    tones = 0.3 * np.sin(2 * np.pi * pitch * now / RATE)
    return (tones + rng.normal(0, 0.01, len(now))).astype(np.float32)


def make_experiment(directory: Path, size: int, blocks: int) -> Path:
    """An experiment whose student gives about as many tokens as there are in speech."""
    width, joint = WIDTHS[size]
    encoder = ENCODER | {"output_size": width, "linear_units": 4 * width, "num_blocks": blocks}
    exp = save_recogniser(directory, encoder_conf=encoder, decoder_conf={"embed_size": joint},
                          joint_net_conf={"joint_space_size": joint}, **CHANGES)  # fmt: skip
    weights = torch.load(exp / AVERAGED, weights_only=True)
    student, _ = load_student(exp)
    speech, bias = torch.from_numpy(made_up_speech(4)), student.joint_network.lin_out.bias
    low, high = 0.0, 40.0
    with torch.no_grad():
        for _ in range(12):
            bias[0] = (low + high) / 2
            said = TransducerGreedySearch(student, max_symbols=1)(speech)[0].tokens
            talks = len(said) > 4 * TOKENS_PER_SECOND
            low, high = (float(bias[0]), high) if talks else (low, float(bias[0]))
    weights["joint_network.lin_out.bias"] = bias.detach().clone()
    torch.save(weights, exp / AVERAGED)
    return exp


def export(exp: Path, out: Path, streaming: bool) -> Path:
    """Export with int8 models beside float32."""
    import soundfile

    from distill_asr.experiments.export.kinds import WantedExport
    from distill_asr.experiments.export.product import Order, export_product

    wav = exp / "test.wav"
    soundfile.write(wav, made_up_speech(2), RATE, subtype="PCM_16")
    wanted = WantedExport(streaming, chunk_size=None if streaming else 0)
    export_product(Order(exp, out, AVERAGED, wanted, {"test": str(wav)}, ["int8"]))
    return out


def runtimes(exp: Path, out: Path, streaming: bool) -> dict[str, Callable[[np.ndarray], object]]:
    """What recognises [samples], by name."""
    from distill_asr.experiments.export.recognise import Recogniser
    from distill_asr.experiments.export.sherpa import SherpaRecogniser

    student, _ = load_student(exp)
    if not streaming:
        student.encoder.chunk_size = 0
    whole = TransducerGreedySearch(student)

    def session(samples: np.ndarray) -> None:
        stream = StreamingSession(student, str, RATE)
        for piece in torch.from_numpy(samples).split(RATE // 50):
            stream.push(piece)
        stream.finish()

    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))
    found = {"PyTorch": session if streaming else lambda samples: whole(torch.from_numpy(samples))}
    for form in ("fp32", "int8"):
        sherpa = SherpaRecogniser(out, facts, form)
        piece = RATE // 50 if streaming else None
        found[f"onnxruntime {form}"] = Recogniser(out, form)
        found[f"sherpa-onnx {form}"] = lambda samples, one=sherpa, n=piece: one([samples], n)
    return found


def measure(
    runtimes: dict[str, Callable[[np.ndarray], object]], speech: np.ndarray, repeats: int
) -> dict[str, float]:
    """Processor time for a second of audio, by runtime: the median of turns."""
    busy: dict[str, list[float]] = {name: [] for name in runtimes}
    for turn in range(-1, repeats):
        for name, recognise in runtimes.items():
            begin = time.process_time()
            recognise(speech)
            if turn >= 0:  # the first one warms up
                busy[name].append((time.process_time() - begin) * RATE / len(speech))
    return {name: statistics.median(times) for name, times in busy.items()}


def beginnings(speech: np.ndarray) -> list[np.ndarray]:
    """Audio [samples] that begins at places all over the first half of what is given."""
    return [speech[at:] for at in np.linspace(0, len(speech) // 2, BEGINNINGS).astype(int)]


def report(name: str, out: Path, factors: dict[str, float], waits: dict[str, str]) -> None:
    """Print one table."""
    sizes = {
        form: sum(path.stat().st_size for path in out.glob("*.onnx")
                  if (".int8." in path.name) == (form == "int8"))
        for form in ("fp32", "int8")
    }  # fmt: skip
    print(f"{name}: float32 {sizes['fp32'] / 1e6:.1f} MB, int8 {sizes['int8'] / 1e6:.1f} MB, "
          f"{sizes['fp32'] / sizes['int8']:.2f} times smaller")  # fmt: skip
    print("| runtime | real-time factor | of PyTorch's | first token, ms |\n|---|---|---|---|")
    for runtime, factor in factors.items():
        ratio = factor / factors["PyTorch"]
        print(f"| {runtime} | {factor:.4f} | {ratio:.2f} | {waits.get(runtime, '')} |")


if __name__ == "__main__":
    sys.exit(main())
