"""``distill-asr decode``: a trained student on a prepared dir."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.experiments.layout import AVERAGED
from distill_asr.io.files import write_text_atomic

if TYPE_CHECKING:
    from torch import nn

    from distill_asr.data.datadir import DataDir
    from distill_asr.decode.language_model import LanguageModel
    from distill_asr.decode.search import AttentionSearch, Hypothesis

MARKER = "decode.json"  # what a finished decoding was made from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr decode``."""
    parser.add_argument("--exp", required=True, help="experiment directory")
    parser.add_argument("--data", required=True, nargs="+", help="prepared dirs")
    parser.add_argument(
        "--output", help="of one data dir; default: <exp>/decode/<name of the data dir>"
    )
    add_search_arguments(parser, method="beam")
    parser.add_argument("--nbest", type=int, default=1)
    parser.add_argument(
        "--timestamps",
        action="store_true",
        help="the frame of every token, where beam search over a transducer would not say; greedy "
        "search, CTC and CIF always do",
    )
    group = parser.add_argument_group("language model (beam search)")
    group.add_argument(
        "--lm", metavar="DIR", help="output of ESPnet's language model training, for shallow fusion"
    )
    group.add_argument("--lm-checkpoint", default=AVERAGED, help="(%(default)s)")
    group.add_argument(
        "--lm-weight", type=float, default=0.3, help="of its log-probability (%(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="decode again")


def add_search_arguments(parser: argparse.ArgumentParser, method: str) -> None:
    """Arguments of the verbs that search, with the default of ``--method``."""
    parser.add_argument("--checkpoint", default=AVERAGED, help="(%(default)s)")
    parser.add_argument(
        "--method",
        choices=["beam", "greedy"],
        default=method,
        help="greedy: the best symbol at every step (%(default)s)",
    )
    parser.add_argument("--beam-size", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--ctc-weight", type=float, default=0.3, help="hybrid students only")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="FRAMES",
        help="encoder chunked only: another chunk size than the config's; 0 for full context",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        help="utterances that a transducer's greedy search takes at a time (%(default)s)",
    )
    parser.add_argument("--device", default="cpu")


@dataclass(frozen=True)
class Job:
    """A prepared dir to decode."""

    data: DataDir
    output: Path
    made_from: dict  # see ``identity``

    @property
    def done(self) -> bool:
        """Whether the output is there, of the same weights, audio and options."""
        marker = self.output / MARKER
        return marker.exists() and json.loads(marker.read_text()) == self.made_from

    def write(self, found: dict[str, list[str]]) -> None:
        """The files, what they were made from last."""
        for name in ("nbest.jsonl", "text"):
            lines = "".join(f"{line}\n" for line in found[name])
            write_text_atomic(self.output / name, lines)
        write_text_atomic(self.output / MARKER, json.dumps(self.made_from, indent=1) + "\n")


def run(args: argparse.Namespace) -> int:
    """Write ``text`` (best), ``nbest.jsonl`` and ``decode.json`` into each output directory."""
    from distill_asr.experiments.student import load_student

    check_options(args)
    open_jobs = []
    for job in plan(args):
        if job.done and not args.overwrite:
            print(f"{job.output}: decoded already")
        else:
            open_jobs.append(job)
    if open_jobs:
        student, train_args = load_student(args.exp, args.checkpoint, args.device)
        for job in open_jobs:
            job.write(decode(args, job.data, student, train_args))
    return 0


def plan(args: argparse.Namespace) -> list[Job]:
    """What is asked for, a job for each data dir.

    Raises
    ------
    UserError : with everything wrong in the data dirs, or two of them would share an output.
    """
    from distill_asr.data.datadir import DataDir

    names = [Path(one).name for one in args.data]
    problems = [
        f"--data: {names.count(name)} data dirs are named {name}; decode them one by one, each "
        "with an --output of its own"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if args.output and len(names) > 1:
        problems.append(f"--output {args.output}: expected one data dir with it, not {len(names)}")
    read = []
    for path in args.data:
        try:
            read.append(DataDir.read(path))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    outputs = (Path(args.output or Path(args.exp) / "decode" / name) for name in names)
    return [Job(d, o, identity(args, d)) for d, o in zip(read, outputs, strict=True)]


def decode(
    args: argparse.Namespace, data: DataDir, student: nn.Module, train_args: argparse.Namespace
) -> dict[str, list[str]]:
    """Lines of Kaldi ``text`` and of ``nbest.jsonl``, sorted by utterance id."""
    from distill_asr.decode.greedy import step_ms
    from distill_asr.espnet.task import sampling_rate

    to_words, rows, timed = TokenText(train_args), {}, {}
    for utt, found in recognise(args, data, student, train_args):
        best: dict[str, Hypothesis] = {}
        for hypothesis in found:  # alignments of the same words count once
            best.setdefault(to_words(hypothesis.tokens), hypothesis)
        if not timed and any(one.frames is not None for one in found):
            timed = {"step_ms": step_ms(student, sampling_rate(train_args))}
        ranked = [to_words.entry(words, one) for words, one in best.items()]
        rows[utt] = {"utt": utt, "nbest": ranked} | timed
    rows = dict(sorted(rows.items()))
    return {
        "text": [f"{utt} {row['nbest'][0]['text']}".rstrip() for utt, row in rows.items()],
        "nbest.jsonl": [json.dumps(row, ensure_ascii=False) for row in rows.values()],
    }


def recognise(
    args: argparse.Namespace, data: DataDir, student: nn.Module, train_args: argparse.Namespace
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Hypotheses of every utterance, the best first; short utterances come before long ones.

    So those that are searched together are of similar length.
    """
    import torch
    from tqdm import tqdm

    from distill_asr.decode.greedy import search_all
    from distill_asr.decode.streaming import set_chunk_size
    from distill_asr.espnet.task import sampling_rate

    if args.chunk_size is not None:
        set_chunk_size(student, args.chunk_size)
    search, rate = build_search(args, student, train_args), sampling_rate(train_args)
    lengths = data.num_samples or {}
    names = sorted(data.wav, key=lambda utt: (lengths.get(utt, 0), utt))
    speech = (
        (utt, torch.from_numpy(read_speech(utt, data.wav[utt], rate)).to(args.device))
        for utt in tqdm(names, desc=f"decode {data.path}", unit="utt")
    )
    yield from search_all(search, speech)


def build_search(args: argparse.Namespace, student: nn.Module, train_args: argparse.Namespace):
    """The search that suits the student and the method asked for."""
    from distill_asr.decode.cif_search import CifSearch
    from distill_asr.decode.greedy import TransducerGreedySearch
    from distill_asr.decode.search import CTCGreedySearch, TransducerSearch

    model = train_args.model
    if model == "ctc" and (student.decoder is None or args.method == "greedy"):
        if args.lm:
            raise UserError(
                f"--lm: {args.exp} is a CTC student without an attention decoder, whose best path "
                "is taken as it is; leave --lm out"
            )
        return CTCGreedySearch(student)
    if model not in ("cif", "ctc", "transducer"):
        raise UserError(
            f"{args.exp}: a student of model {model!r} recognises nothing; finish stage 2"
        )
    beam, tokens = 1 if args.method == "greedy" else args.beam_size, student.vocab_size
    if beam > tokens:
        raise UserError(f"--beam-size {beam}: expected at most the student's {tokens} tokens")
    language_model = _language_model(args, train_args)
    if model == "cif":
        return CifSearch(student, beam, args.nbest, language_model)
    if model == "ctc":
        return _attention_search(args, beam)
    if args.method == "greedy":
        return TransducerGreedySearch(student, batch_size=args.batch_size)
    return TransducerSearch(student, beam, args.nbest, language_model, args.timestamps)


def _language_model(
    args: argparse.Namespace, train_args: argparse.Namespace
) -> LanguageModel | None:
    from distill_asr.decode.language_model import LanguageModel, load_language_model

    if not args.lm:
        return None
    lm = load_language_model(args.lm, args.lm_checkpoint, train_args.token_list, args.device)
    return LanguageModel(lm, args.lm_weight)


def _attention_search(args: argparse.Namespace, beam: int) -> AttentionSearch:
    from distill_asr.decode.search import AttentionSearch
    from distill_asr.experiments.export.espnet_model import export_model

    for option, given in (
        ("--chunk-size", args.chunk_size is not None),
        ("--timestamps", args.timestamps),
    ):
        if given:
            raise UserError(f"{option}: the joint CTC/attention search has none; --method greedy")
    config, weights = export_model(args.exp, Path(args.exp) / "espnet", args.checkpoint)
    fusion = {}
    if args.lm:
        fusion = {
            "lm_train_config": str(Path(args.lm) / "config.yaml"),
            "lm_file": str(Path(args.lm) / args.lm_checkpoint),
            "lm_weight": args.lm_weight,
        }
    return AttentionSearch(
        str(config), str(weights), beam, args.nbest, args.ctc_weight, args.device, **fusion
    )


class TokenText:
    """Token ids to words, as the student's training config says."""

    def __init__(self, train_args: argparse.Namespace) -> None:
        from espnet2.text.build_tokenizer import build_tokenizer

        from distill_asr.data.pieces import KIND as PIECES
        from distill_asr.data.pieces import PieceTokenizer

        self.tokens = train_args.token_list
        kind = train_args.token_type
        if kind is None:
            raise UserError(
                f"a student of model {train_args.model!r} recognises nothing; finish stage 2"
            )
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


def check_options(args: argparse.Namespace) -> None:
    """Raise UserError with everything wrong in the options of a verb that searches."""
    problems = [
        f"{option} {value}: expected at least 1"
        for option, value in (
            ("--beam-size", args.beam_size),
            ("--nbest", args.nbest),
            ("--batch-size", args.batch_size),
        )
        if value < 1
    ]
    if not 0 <= args.ctc_weight <= 1:
        problems.append(f"--ctc-weight {args.ctc_weight}: expected between 0 and 1")
    if (args.chunk_size or 0) < 0:
        problems.append(f"--chunk-size {args.chunk_size}: expected frames, or 0 for full context")
    if args.lm:
        if not 0 <= args.lm_weight < math.inf:
            problems.append(f"--lm-weight {args.lm_weight}: expected 0 or more")
        if args.method == "greedy":
            problems.append("--lm: greedy search takes no language model; use --method beam")
    if problems:
        raise UserError(problems)


def identity(args: argparse.Namespace, data: DataDir) -> dict:
    """What a finished decoding was made from.

    Raises
    ------
    UserError : there is no such checkpoint, of the student or the language model.
    """
    from distill_asr.io.checksum import file_sha256

    checkpoint = Path(args.exp) / args.checkpoint
    problems = []
    if not checkpoint.exists():
        problems.append(f"{checkpoint}: no such file; is the training in {args.exp} finished?")
    more: dict = {} if args.chunk_size is None else {"chunk_size": args.chunk_size}
    if args.timestamps:
        more["timestamps"] = True
    if args.lm:
        lm = Path(args.lm) / args.lm_checkpoint
        if lm.exists():
            more["lm"] = {"checkpoint": file_sha256(lm), "weight": args.lm_weight}
        else:
            problems.append(f"{lm}: no such file; is the training in {args.lm} finished?")
    if problems:
        raise UserError(problems)
    options = ("method", "beam_size", "nbest", "ctc_weight")
    listed = json.dumps([data.wav, data.num_samples], sort_keys=True)
    return more | {
        "checkpoint": file_sha256(checkpoint),
        "data": str(data.path),
        "utterances": len(data.wav),
        "audio": hashlib.sha256(listed.encode()).hexdigest(),
        **{option: getattr(args, option) for option in options},
    }
