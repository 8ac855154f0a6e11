"""A trained student exported: the same words everywhere, and what int8 costs.

Every utterance of the sets is recognised by PyTorch, ONNX Runtime and, where the export is for it,
sherpa-onnx, float32 and int8, in turns in one process, by the search of the runtimes (one token a
frame at most). Processor time, so that other work on the machine changes all sides alike. For a
streaming transducer also the first-token delay in pieces of 20 ms.

    OMP_NUM_THREADS=1 python bench/exported.py --exp exp/plain_seed1 dump/test_clean dump/test_noisy
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from first_token import delays

from distill_asr.data.datadir import DataDir
from distill_asr.experiments.export.expected import Expected
from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form
from distill_asr.experiments.export.product import Order, export_product
from distill_asr.experiments.export.recognise import Recogniser
from distill_asr.experiments.export.sherpa import SherpaRecogniser
from distill_asr.experiments.export.symbols import UNKNOWN, Words, plain, symbols
from distill_asr.experiments.layout import AVERAGED
from distill_asr.experiments.student import load_student
from distill_asr.scoring.wer import count_edits

RESAMPLES = 10_000
Runtime = Callable[[np.ndarray], str]


def main() -> int:
    """Print the table; 1 where a word of float32 differs from PyTorch's."""
    options = parse()
    torch.set_num_threads(1)
    speech, texts = read(options.data, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "export"
        runtimes = make_runtimes(options, out, next(iter(speech.values()))[0])
        samples = {utt: one for utt, (_, one) in speech.items()}
        words, busy = recognise(runtimes, samples)
        waits = first_tokens(options, out, list(samples.values()))
        sizes = {form: size(out, form) for form in ("fp32", "int8")}
    seconds = sum(len(samples) for _, samples in speech.values()) / 16000
    print(f"{len(speech)} utterances, {seconds:.0f} s; float32 {sizes['fp32'] / 1e6:.2f} MB, "
          f"int8 {sizes['int8'] / 1e6:.2f} MB, {sizes['fp32'] / sizes['int8']:.2f} times smaller\n"
          "| runtime | utterances that differ | WER, % | against PyTorch, relative, % | "
          "real-time factor | of PyTorch's | first token, ms |\n"
          "|---|---|---|---|---|---|---|")  # fmt: skip
    counts = {name: errors(texts, found) for name, found in words.items()}
    right, differing = words["PyTorch"], {}
    for name, found in words.items():
        differing[name] = sum(found[utt] != right[utt] for utt in right)
        rate, (change, low, high) = compared(counts[name], counts["PyTorch"])
        interval = f"{change:+.2f} ({low:+.2f} to {high:+.2f})"
        print(f"| {name} | {differing[name]} | {rate:.2f} | {interval} "
              f"| {busy[name] / seconds:.4f} | {busy[name] / busy['PyTorch']:.2f} "
              f"| {waits.get(name, '')} |")  # fmt: skip
    return int(any(count for name, count in differing.items() if "int8" not in name))


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", help="prepared dirs with text")
    parser.add_argument("--exp", type=Path, required=True)
    parser.add_argument("--streaming", action="store_true")
    parser.add_argument("--to", choices=["onnx", "sherpa"], default="sherpa")
    parser.add_argument("--limit", type=int, help="utterances of each set")
    parser.add_argument("--every", type=int, default=5,
                        help="every so many utterances, for the first-token delay")  # fmt: skip
    return parser.parse_args()


def read(
    data: list[str], limit: int | None
) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, str]]:
    """Path and samples by utterance, and transcripts."""
    speech, texts = {}, {}
    for one in data:
        files = DataDir.read(one)
        for utt in sorted(files.wav)[:limit]:
            samples, _ = soundfile.read(files.wav[utt], dtype="float32")
            speech[utt], texts[utt] = (files.wav[utt], samples), files.text[utt]
    return speech, texts


def make_runtimes(options: argparse.Namespace, out: Path, wav: str) -> dict[str, Runtime]:
    """Export, and what recognises, by name."""
    wanted = WantedExport(options.streaming, sherpa=options.to == "sherpa")
    export_product(Order(options.exp, out, AVERAGED, wanted, {"test": wav}, ["int8"]))
    student, config = load_student(options.exp)
    assert not form_problems(student, wanted)
    tokens = config.token_list
    search = Expected(student, make_form(student, wanted),
                      tokens.index(UNKNOWN) if UNKNOWN in tokens else None)  # fmt: skip
    to_words = Words(config, symbols(config))
    found: dict[str, Runtime] = {"PyTorch": lambda one: to_words(search(torch.from_numpy(one)))}
    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))
    for form in ("fp32", "int8"):
        own = Recogniser(out, form)
        found[f"onnxruntime {form}"] = lambda one, run=own: plain(run(one))
        if facts["sherpa"]:
            sherpa = SherpaRecogniser(out, facts, form)
            found[f"sherpa-onnx {form}"] = lambda one, run=sherpa: plain(run([one])[0])
    return found


def recognise(
    runtimes: dict[str, Runtime], speech: dict[str, np.ndarray]
) -> tuple[dict[str, dict[str, str]], dict[str, float]]:
    """Words by utterance, and processor seconds, by runtime."""
    words: dict[str, dict[str, str]] = {name: {} for name in runtimes}
    busy = dict.fromkeys(runtimes, 0.0)
    for utt, samples in speech.items():
        for name, run in runtimes.items():
            begin = time.process_time()
            words[name][utt] = run(samples)
            busy[name] += time.process_time() - begin
    return words, busy


def first_tokens(
    options: argparse.Namespace, out: Path, speech: list[np.ndarray]
) -> dict[str, str]:
    """First-token delay by runtime; empty where no transducer streams."""
    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))
    if facts["kind"] != "streaming_transducer":
        return {}
    return delays(load_student(options.exp)[0], out, speech[:: options.every])


def errors(texts: dict[str, str], found: dict[str, str]) -> np.ndarray:
    """Wrong words and words of each utterance, [utterances, 2]."""
    edits = count_edits(texts, found)
    return np.array([(edits[utt].words.errors, len(texts[utt].split())) for utt in sorted(texts)])


def compared(counts: np.ndarray, others: np.ndarray) -> tuple[float, tuple[float, float, float]]:
    """WER, its relative change against others', and that change's 95 % interval over utterances."""
    rng, changes = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(counts), size=len(counts))
        changes.append(counts[drawn, 0].sum() / max(1, others[drawn, 0].sum()) - 1)
    low, high = 100 * np.quantile(changes, [0.025, 0.975])
    change = 100 * (counts[:, 0].sum() / max(1, others[:, 0].sum()) - 1)
    return 100 * counts[:, 0].sum() / counts[:, 1].sum(), (change, low, high)


def size(out: Path, form: str) -> int:
    """Bytes of all models in one form; what has no smaller one counts as it is."""
    facts = json.loads((out / "export.json").read_text(encoding="utf-8"))
    files = [one.get(form, one["fp32"]) for one in facts["models"].values()]
    return sum((out / file).stat().st_size for file in files)


if __name__ == "__main__":
    sys.exit(main())
