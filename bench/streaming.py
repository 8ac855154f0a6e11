"""Real-time factor of streaming with a student of 10 million parameters on one core.

Its weights are random, so its words are too: the blank is made likely until it says about as many
tokens a second as there are in speech. Audio comes in pieces, as from a microphone.

    OMP_NUM_THREADS=1 python bench/streaming.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from torch import Tensor, nn

from distill_asr.decode.streaming import StreamingSession

RATE = 16000
LIMIT = 0.1
VOCABULARY = 256
CONFIG = {
    "model": "transducer",
    "token_type": "bpe",
    "token_list": ["<blank>", "<unk>", *map(str, range(VOCABULARY - 3)), "<sos/eos>"],
    "frontend": "kaldi_fbank",
    "frontend_conf": {"n_mels": 80},
    "specaug": None,
    "normalize": None,
    "encoder": "chunked",
    "encoder_conf": {
        "output_size": 144,
        "attention_heads": 4,
        "linear_units": 576,
        "num_blocks": 16,
        "cnn_module_kernel": 31,
    },
    "decoder": "lstm",
    "decoder_conf": {"embed_size": 128, "hidden_size": 320},
    "joint_net_conf": {"joint_space_size": 320},
    "model_conf": {"ctc_weight": 0.3},
}


def main() -> int:
    """Print the real-time factor; 1 where it is over the limit."""
    options = parse()
    student = make_student(options)
    speech = made_up_speech(options.seconds)
    busy, waited, tokens = [], [], 0
    for turn in range(-1, options.repeats):
        begin, work = time.perf_counter(), time.process_time()
        tokens = listen(student, speech, options)
        if turn >= 0:  # the first one warms up
            busy.append((time.process_time() - work) / options.seconds)
            waited.append((time.perf_counter() - begin) / options.seconds)
    size = sum(parameter.numel() for parameter in student.parameters())
    print(
        f"{size / 1e6:.1f} M parameters, chunks of {options.chunk_size} frames "
        f"({40 * options.chunk_size} ms), left context {student.encoder.left_frames}, pieces "
        f"of {options.piece_ms} ms, {tokens / options.seconds:.1f} tokens/s, "
        f"{torch.get_num_threads()} thread(s); {options.repeats} times {options.seconds} s of audio"
    )
    factor = statistics.median(busy)
    print(f"processor time {factor:.3f} s a second of audio, limit {LIMIT}; "
          f"on the clock {statistics.median(waited):.3f} s (more where others run)")  # fmt: skip
    return int(factor > LIMIT)


def parse() -> argparse.Namespace:
    """Options; the defaults take under a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="of audio")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chunk-size", type=int, default=8, help="encoder frames")
    parser.add_argument("--piece-ms", type=int, default=20)
    parser.add_argument("--tokens-per-second", type=float, default=5.0)
    return parser.parse_args()


def make_student(options: argparse.Namespace) -> nn.Module:
    """The student, with a blank that leaves about the tokens asked for."""
    from distill_asr.espnet.task import build_untrained

    torch.manual_seed(0)
    student = build_untrained(CONFIG).eval()
    speech, bias = made_up_speech(4), student.joint_network.lin_out.bias
    low, high = 0.0, 20.0
    with torch.no_grad():
        student.joint_network.lin_out.weight *= 10
        for _ in range(10):
            bias[0] = (low + high) / 2
            talks = listen(student, speech, options) > 4 * options.tokens_per_second
            low, high = (float(bias[0]), high) if talks else (low, float(bias[0]))
    return student


def made_up_speech(seconds: int) -> Tensor:
    """[samples] of tones that change ten times a second, in noise."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.arange(seconds * RATE)
    pitch = torch.rand(10 * seconds, generator=generator)[samples // (RATE // 10)]
    tones = 0.3 * torch.sin(2 * torch.pi * (100 + 4000 * pitch) * samples / RATE)
    return tones + 0.01 * torch.randn(len(samples), generator=generator)


def listen(student: nn.Module, speech: Tensor, options: argparse.Namespace) -> int:
    """Tokens that a session finds."""
    session = StreamingSession(student, str, RATE, options.chunk_size)
    results = []
    for piece in speech.split(RATE * options.piece_ms // 1000):
        results += session.push(piece)
    results += session.finish()
    return sum(len(result.tokens) for result in results if result.final)


if __name__ == "__main__":
    sys.exit(main())
