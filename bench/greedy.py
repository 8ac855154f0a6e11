"""Greedy search over a transducer: many utterances at a time, one at a time, ESPnet's beam of 1.

All three take the same encoder outputs, in turns, in one process; the encoder's own time is
printed beside them. Weights are random, so words are too: the blank is made likely until there are
about as many tokens a second as in speech. ESPnet's beam of size 1 is another search (it may take a
token back), so that it finds other tokens.

    OMP_NUM_THREADS=1 python bench/greedy.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill_asr.decode.greedy import GreedySearch
from distill_asr.decode.search import TransducerSearch, encode

RATE = 16000
VOCABULARY = 256
CONFIG = {
    "model": "transducer",
    "token_type": "bpe",
    "token_list": ["<blank>", "<unk>", *map(str, range(VOCABULARY - 3)), "<sos/eos>"],
    "frontend": "kaldi_fbank",
    "frontend_conf": {"n_mels": 80},
    "specaug": None,
    "normalize": None,
    "encoder": "conformer",
    "encoder_conf": {
        "output_size": 144,
        "attention_heads": 4,
        "linear_units": 576,
        "num_blocks": 4,
        "cnn_module_kernel": 31,
    },
    "decoder": "lstm",
    "decoder_conf": {"embed_size": 128, "hidden_size": 320},
    "joint_net_conf": {"joint_space_size": 320},
    "model_conf": {"ctc_weight": 0.3},
}


def main() -> int:
    """Print seconds of each search, and its ratio to the batched one."""
    options = parse()
    student = make_student(options)
    speech = made_up_speech(options)
    begin = time.perf_counter()
    with torch.inference_mode():
        encoded = [encode(student, one) for one in speech]
    encoding = time.perf_counter() - begin
    greedy = GreedySearch(student.decoder, student.joint_network, student.blank_id)
    beam = TransducerSearch(student, 1, 1).beam
    searches: dict[str, Callable[[], int]] = {
        f"{options.batch_size} at a time": lambda: search(greedy, encoded, options.batch_size),
        "one at a time": lambda: search(greedy, encoded, 1),
        "ESPnet's beam of 1": lambda: sum(len(beam(one)[0].yseq) - 1 for one in encoded),
    }
    times: dict[str, list[float]] = {name: [] for name in searches}
    tokens: dict[str, int] = {}
    for turn in range(-1, options.repeats):
        for name, work in searches.items():
            begin = time.perf_counter()
            with torch.inference_mode():
                tokens[name] = work()
            if turn >= 0:  # the first one warms up
                times[name].append(time.perf_counter() - begin)
    report(options, sum(map(len, speech)) / RATE, encoding, times, tokens)
    return 0


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--seconds", type=float, nargs=2, default=(3.0, 5.0), help="of each")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens-per-second", type=float, default=5.0)
    return parser.parse_args()


def make_student(options: argparse.Namespace) -> nn.Module:
    """The student, with a blank that leaves about the tokens asked for."""
    from distill_asr.espnet.task import build_untrained

    torch.manual_seed(0)
    student = build_untrained(CONFIG).eval()
    bias, seconds = student.joint_network.lin_out.bias, 4
    low, high = 0.0, 20.0
    with torch.inference_mode():
        student.joint_network.lin_out.weight *= 10
        noise = encode(student, 0.1 * torch.randn(seconds * RATE))
        greedy = GreedySearch(student.decoder, student.joint_network, student.blank_id)
        for _ in range(12):
            bias[0] = (low + high) / 2
            talks = search(greedy, [noise], 1) > seconds * options.tokens_per_second
            low, high = (float(bias[0]), high) if talks else (low, float(bias[0]))
    return student


def made_up_speech(options: argparse.Namespace) -> list[Tensor]:
    """Noise, [samples] each, from the shortest to the longest."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(*options.seconds, options.utterances) * RATE
    return [0.1 * torch.randn(int(length), generator=generator) for length in lengths]


def search(greedy: GreedySearch, encoded: list[Tensor], size: int) -> int:
    """Tokens found, ``size`` utterances at a time."""
    count = 0
    for begin in range(0, len(encoded), size):
        group = encoded[begin : begin + size]
        state = greedy.start(len(group), group[0].device)
        padded = nn.utils.rnn.pad_sequence(group, batch_first=True)
        greedy.advance(state, padded, torch.tensor([len(one) for one in group]))
        count += sum(map(len, state.tokens))
    return count


def report(
    options: argparse.Namespace,
    audio: float,
    encoding: float,
    times: dict[str, list[float]],
    tokens: dict[str, int],
) -> None:
    """One line a search."""
    print(
        f"{options.utterances} utterances, {audio:.0f} s of audio, {options.repeats} turns, "
        f"{torch.get_num_threads()} thread(s); encoding them took {encoding:.2f} s"
    )
    base = statistics.median(next(iter(times.values())))
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(
            f"{name:>20}: {median:7.3f} s, {median / base:6.2f} times as long; "
            f"{tokens[name] / audio:.1f} tokens a second of audio"
        )


if __name__ == "__main__":
    sys.exit(main())
