"""Real-time factors of the CIF recogniser's two decoders: token by token, and all at once.

Both students have the encoder of egs/aishell, the published one, and decoders of as many layers
and the same width, and random weights; as many tokens fire as in speech.
Each is decoded as a user would: the autoregressive one with a beam, and greedily; the other takes
the best tokens. Encoding is the same work for all; ratios are given without it and with it.

    OMP_NUM_THREADS=1 python bench/cif_decoding.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from distill_asr.decode.cif_search import CifSearch
from distill_asr.decode.search import encode

RATE = 16000
LIMIT = 3.0  # the autoregressive decoder's beam search over the other decoder, encoders apart
VOCABULARY = 4232  # of AISHELL-1
CONFIG = Path(__file__).parents[1] / "egs/aishell/asr1/conf/cif.yaml"


def main() -> int:
    """Print one line a search; 1 where deciding all at once is under the limit."""
    options = parse()
    searches = {
        f"cif_ar, beam {options.beam_size}": CifSearch(student("cif_ar"), options.beam_size, 1),
        "cif_ar, greedy": CifSearch(student("cif_ar"), 1, 1),
        "cif_nar": CifSearch(student("cif_nar"), 1, 1),
    }
    speech = 0.1 * torch.randn(RATE * options.seconds, generator=torch.Generator().manual_seed(0))
    encoding: list[float] = []
    searching: dict[str, list[float]] = {name: [] for name in searches}
    with torch.inference_mode():
        for turn in range(-1, options.repeats):
            for name, search in searches.items():
                begin = time.perf_counter()
                fired = fire(search.student, speech, options)
                middle = time.perf_counter()
                search.search(fired)
                if turn >= 0:  # the first one warms up
                    encoding.append(middle - begin)
                    searching[name].append(time.perf_counter() - middle)
    return report(options, statistics.median(encoding), searching)


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of audio")
    parser.add_argument("--tokens-per-second", type=float, default=3.2, help="AISHELL's")
    parser.add_argument("--beam-size", type=int, default=10, help="the published one")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def student(decoder: str) -> nn.Module:
    """The recipe's student with one of the decoders."""
    from distill_asr.espnet.task import build_untrained
    from distill_asr.io.yaml import load_config

    config = load_config(CONFIG)
    tokens = ["<blank>", "<unk>", *map(chr, range(0x4E00, 0x4E00 + VOCABULARY - 3)), "<sos/eos>"]
    sizes = {key: config["decoder_conf"][key] for key in ("attention_heads", "linear_units")}
    sizes["num_blocks"] = config["decoder_conf"]["num_blocks"]
    changes = {"token_list": tokens, "decoder": decoder, "decoder_conf": sizes}
    torch.manual_seed(0)
    return build_untrained(config | changes).eval()


def fire(made: nn.Module, speech: Tensor, options: argparse.Namespace) -> Tensor:
    """Fired vectors [U, D], the number scaled to that of speech."""
    encoded = encode(made, speech)
    lengths = torch.tensor([len(encoded)])
    count = torch.tensor([round(options.seconds * options.tokens_per_second)])
    return made.integrate(encoded[None], lengths, count).states[0]


def report(options: argparse.Namespace, encoding: float, searching: dict[str, list[float]]) -> int:
    """Real-time factors and their ratios to the last search."""
    audio, last = options.seconds, statistics.median(list(searching.values())[-1])
    print(
        f"{audio} s of audio, {torch.get_num_threads()} thread(s); "
        f"encoder and CIF: {encoding / audio:.4f} of real time"
    )
    taken = {name: statistics.median(times) for name, times in searching.items()}
    for name, seconds in taken.items():
        whole = (encoding + seconds) / (encoding + last)
        parts = f"{seconds / audio:.4f} of real time, {seconds / last:.1f} of cif_nar"
        print(f"{name:16} decoder {parts}; with the encoder {whole:.2f} of cif_nar")
    ratio = next(iter(taken.values())) / last
    print(f"decoders: {ratio:.1f} times as fast, limit {LIMIT}")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
