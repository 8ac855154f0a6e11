"""``distill-asr decode``: a trained student on a prepared dir."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.files import write_text_atomic

if TYPE_CHECKING:
    from distill_asr.decode.search import Hypothesis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr decode``."""
    parser.add_argument("--exp", required=True, help="experiment directory")
    parser.add_argument("--data", required=True, help="prepared dir")
    parser.add_argument("--output", help="default: <exp>/decode/<name of the data dir>")
    parser.add_argument("--checkpoint", default="valid.loss.ave.pth")
    parser.add_argument(
        "--method",
        choices=["beam", "greedy"],
        default="beam",
        help="greedy: the best symbol at every step, a transducer's with their times",
    )
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--nbest", type=int, default=1)
    parser.add_argument("--ctc-weight", type=float, default=0.3, help="hybrid students only")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="FRAMES",
        help="encoder chunked only: another chunk size than the config's; 0 for full context",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--overwrite", action="store_true", help="decode again")


def run(args: argparse.Namespace) -> int:
    """Write ``text`` (best), ``nbest.jsonl`` and ``decode.json`` into the output directory."""
    from distill_asr.data.datadir import DataDir

    _check_options(args)
    output = Path(args.output or Path(args.exp) / "decode" / Path(args.data).name)
    data = DataDir.read(args.data)
    identity = _identity(args, data)
    marker = output / "decode.json"
    if not args.overwrite and marker.exists() and json.loads(marker.read_text()) == identity:
        print(f"{output}: decoded already")
        return 0
    found = decode(args, data)
    write_text_atomic(output / "nbest.jsonl", "".join(f"{line}\n" for line in found["nbest"]))
    write_text_atomic(output / "text", "".join(f"{line}\n" for line in found["text"]))
    write_text_atomic(marker, json.dumps(identity, indent=1) + "\n")
    return 0


def decode(args: argparse.Namespace, data) -> dict[str, list[str]]:
    """Lines of Kaldi ``text`` and of n-best JSON, sorted by utterance id."""
    import torch
    from tqdm import tqdm

    from distill_asr.decode.greedy import search_all, step_ms
    from distill_asr.decode.model import load_student
    from distill_asr.decode.streaming import set_chunk_size
    from distill_asr.task import sampling_rate

    student, train_args = load_student(args.exp, args.checkpoint, args.device)
    if args.chunk_size is not None:
        set_chunk_size(student, args.chunk_size)
    search = build_search(args, student, train_args.model)
    to_words, rate = TokenText(train_args), sampling_rate(train_args)
    lines: dict[str, list[str]] = {"text": [], "nbest": []}
    names = tqdm(sorted(data.wav), desc=f"decode {args.data}", unit="utt")
    speech = (
        (utt, torch.from_numpy(read_speech(utt, data.wav[utt], rate)).to(args.device))
        for utt in names
    )
    timed: dict[str, float] = {}
    for utt, found in search_all(search, speech):
        best: dict[str, Hypothesis] = {}
        for hypothesis in found:  # alignments of the same words count once
            best.setdefault(to_words(hypothesis.tokens), hypothesis)
        if not timed and any(one.frames is not None for one in found):
            timed = {"step_ms": step_ms(student, rate)}
        lines["text"].append(f"{utt} {next(iter(best), '')}".rstrip())
        ranked = [to_words.entry(words, one) for words, one in best.items()]
        row = {"utt": utt, "nbest": ranked} | timed
        lines["nbest"].append(json.dumps(row, ensure_ascii=False))
    return lines


def build_search(args: argparse.Namespace, student, model: str):
    """The search that suits the student and the method asked for."""
    from distill_asr.decode.cif_search import CifSearch
    from distill_asr.decode.greedy import TransducerGreedySearch
    from distill_asr.decode.search import AttentionSearch, CTCGreedySearch, TransducerSearch
    from distill_asr.export.espnet_model import export_model

    if model == "ctc" and (student.decoder is None or args.method == "greedy"):
        return CTCGreedySearch(student)
    if model not in ("cif", "ctc", "transducer"):
        raise UserError(
            f"{args.exp}: a student of model {model!r} recognises nothing; finish stage 2"
        )
    beam, tokens = 1 if args.method == "greedy" else args.beam_size, student.vocab_size
    if beam > tokens:
        raise UserError(f"--beam-size {beam}: expected at most the student's {tokens} tokens")
    if model == "cif":
        return CifSearch(student, beam, args.nbest)
    if model == "transducer":
        if args.method == "greedy":
            return TransducerGreedySearch(student)
        return TransducerSearch(student, beam, args.nbest)
    if args.chunk_size is not None:
        raise UserError("--chunk-size: the joint CTC/attention search has none; --method greedy")
    config, weights = export_model(args.exp, Path(args.exp) / "espnet", args.checkpoint)
    return AttentionSearch(
        str(config), str(weights), beam, args.nbest, args.ctc_weight, args.device
    )


class TokenText:
    """Token ids to words, as the student's training config says."""

    def __init__(self, train_args: argparse.Namespace) -> None:
        from espnet2.text.build_tokenizer import build_tokenizer

        from distill_asr.data.pieces import KIND as PIECES
        from distill_asr.data.pieces import PieceTokenizer

        self.tokens = train_args.token_list
        kind = train_args.token_type
        if kind == PIECES:
            self.tokenizer = PieceTokenizer(train_args.bpemodel)
        else:
            self.tokenizer = build_tokenizer(kind, bpemodel=train_args.bpemodel)
        self.end = len(self.tokens) - 1  # <sos/eos>

    def __call__(self, ids: list[int]) -> str:
        """Words of a token sequence; the end token is no word."""
        return self.tokenizer.tokens2text([self.tokens[i] for i in ids if i != self.end]).strip()

    def entry(self, words: str, found: Hypothesis) -> dict:
        """A line's part of ``nbest.jsonl``; with the frame of every token where it is known."""
        entry = {"text": words, "score": found.score}
        if found.frames is None:
            return entry
        return entry | {"tokens": [self.tokens[i] for i in found.tokens], "frames": found.frames}


def read_speech(utt: str, path: str, rate: int):
    """Samples [n] in float32.

    Raises
    ------
    UserError : unreadable audio, or not mono at ``rate`` Hz; named by its utterance.
    """
    import soundfile

    try:
        speech, found = soundfile.read(path, dtype="float32")
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{utt}: {path}: {error}") from error
    if found != rate or speech.ndim > 1:
        channels = 1 if speech.ndim == 1 else speech.shape[1]
        raise UserError(
            f"{utt}: {path}: {found} Hz, {channels} channel(s), expected {rate} Hz mono; "
            "run `distill-asr prepare`"
        )
    return speech


def _check_options(args: argparse.Namespace) -> None:
    problems = [
        f"{option} {value}: expected at least 1"
        for option, value in (("--beam-size", args.beam_size), ("--nbest", args.nbest))
        if value < 1
    ]
    if not 0 <= args.ctc_weight <= 1:
        problems.append(f"--ctc-weight {args.ctc_weight}: expected between 0 and 1")
    if (args.chunk_size or 0) < 0:
        problems.append(f"--chunk-size {args.chunk_size}: expected frames, or 0 for full context")
    if problems:
        raise UserError(problems)


def _identity(args: argparse.Namespace, data) -> dict:
    """What a finished decoding was made from."""
    checkpoint = Path(args.exp) / args.checkpoint
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file; is the training in {args.exp} finished?")
    options = ("data", "method", "beam_size", "nbest", "ctc_weight")
    listed = json.dumps([data.wav, data.num_samples], sort_keys=True)
    chunk = {} if args.chunk_size is None else {"chunk_size": args.chunk_size}
    return chunk | {
        "checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "utterances": len(data.wav),
        "audio": hashlib.sha256(listed.encode()).hexdigest(),
        **{option: getattr(args, option) for option in options},
    }
