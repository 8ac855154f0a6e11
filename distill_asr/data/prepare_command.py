"""The verb ``prepare``: a checked data directory, and a token list of its transcripts.

Audio that is fine stays where it is; the rest is written as 16-bit wav below DST. The same
command continues after an interruption and does nothing when all is done.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.data import bpe, tokens
from distill_asr.data.normalise import FORMS, NORMALISERS, TranscriptRule, plain_blanks
from distill_asr.data.overlap import check_overlap
from distill_asr.data.prepare import FILES, PrepareOptions, prepare
from distill_asr.data.record import FILTERED, ORIGINAL, has_language_tags
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import MIX
from distill_asr.io.files import write_text_atomic
from distill_asr.io.occupied import PREPARED, occupied
from distill_asr.io.tables import table_rows

_NAMED = 5  # words that a message names


@dataclass(frozen=True)
class TokenOptions:
    """The token list that is wanted, if any.

    Parameters
    ----------
    kind : one of ``tokens.KINDS``, or ``bpe``; None for no list.
    path : of the list.
    texts : Kaldi text files to make it of; empty for that of the directory.
    vocab_size, bpe_model : of ``bpe``.
    tokenizer : hub id or directory, of ``hugging_face``.
    """

    kind: str | None
    path: Path | None
    texts: tuple[Path, ...]
    vocab_size: int | None
    bpe_model: Path | None
    tokenizer: str | None

    def problems(self) -> list[str]:
        """List what is wrong with them, in the words of the command line."""
        found = []
        if self.kind and not self.path:
            found.append("--tokens needs --token-list PATH")
        if not self.kind and (self.path or self.texts):
            kinds = "|".join((*tokens.KINDS, bpe.KIND))
            found.append(f"--token-list and --text need --tokens {kinds}")
        given = {"--vocab-size N": self.vocab_size, "--bpe-model PATH": self.bpe_model}
        for name, value in given.items():
            if self.kind != bpe.KIND and value is not None:
                found.append(f"{name} needs --tokens bpe")
            if self.kind == bpe.KIND and value is None:
                found.append(f"--tokens bpe needs {name}")
        if (self.kind == tokens.PIECES) != bool(self.tokenizer):
            found.append(f"--tokens {tokens.PIECES} and --tokenizer MODEL need each other")
        return found + [f"--text {path}: no such file" for path in self.texts if not path.is_file()]

    def outputs(self) -> list[Path]:
        """Every file that is written."""
        written = [self.path, self.path and self.path.with_suffix(".tags"), self.bpe_model]
        return [path for path in written if path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    add = parser.add_argument
    add("source", type=Path, metavar="SRC", help="data directory of Kaldi or ESPnet")
    add("target", type=Path, metavar="DST", help="prepared data dir to write")
    add("--fs", type=int, default=16000, help="sampling rate in Hz (%(default)s)")
    add(
        "--min-duration",
        type=float,
        default=0.1,
        help="shortest utterance, in seconds; shorter ones are left out (%(default)s)",
    )
    add(
        "--max-duration",
        type=float,
        default=30.0,
        help="longest utterance, in seconds; longer ones are left out (%(default)s); use inf for "
        "test sets, to score them whole",
    )
    add(
        "--channel",
        choices=("0", "1", MIX),
        help="channel to use: the first, the second, or the mean of all",
    )
    add(
        "--allow-pipes",
        action="store_true",
        help="run the commands in wav.scp, without a shell; use it for files that you trust",
    )
    add(
        "--nj",
        type=int,
        default=min(4, os.cpu_count() or 1),
        help="number of processes (%(default)s)",
    )
    kinds = (*tokens.KINDS, bpe.KIND)
    add("--tokens", choices=kinds, help="write a token list of these units too")
    add("--token-list", type=Path, help="token list to write; needed with --tokens")
    add("--vocab-size", type=int, help="number of tokens; needed with --tokens bpe")
    add("--bpe-model", type=Path, help="sentencepiece model to write; needed with --tokens bpe")
    add(
        "--tokenizer",
        metavar="MODEL",
        help=f"hub id or directory of the text model, for --tokens {tokens.PIECES}",
    )
    add(
        "--text",
        type=Path,
        nargs="+",
        help="Kaldi text files for the token list; default: that of DST",
    )
    _add_transcript_arguments(parser)


def _add_transcript_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "transcripts", f"DST/text is changed; DST/{ORIGINAL} keeps what a text teacher reads"
    )
    group.add_argument(
        "--normalise",
        choices=NORMALISERS,
        help="normalise transcripts; unicode: lower case, marks kept; letters_only: without marks, "
        "digits and apostrophes",
    )
    group.add_argument(
        "--unicode-form", choices=FORMS, help="Unicode form, with --normalise unicode (NFC)"
    )
    group.add_argument(
        "--language",
        metavar="CODE",
        help="language of the transcripts, such as tr, where I becomes ı",
    )
    group.add_argument(
        "--language-tag", action="store_true", help="put <CODE> before each transcript"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare a data directory, and write a token list where one is asked for."""
    options, wanted = _options(args)
    source, target = args.source, args.target
    record = prepare(source, target, options)
    _report(target, record)
    if wanted.kind:
        texts, tags = _texts(wanted.texts or (target / "text",))
        written = _write_tokens(wanted, texts, tags)
        print(f"{wanted.path}: {len(written)} tokens")
        if wanted.tokenizer:
            _report_unknown(texts, wanted.tokenizer)
        _write_tags(tags, wanted.path.with_suffix(".tags"))
    return 0


def _options(args: argparse.Namespace) -> tuple[PrepareOptions, TokenOptions]:
    """What the command line asks for; UserError with everything wrong in it."""
    problems = Problems()
    wanted = TokenOptions(
        args.tokens,
        args.token_list,
        tuple(args.text or ()),
        args.vocab_size,
        args.bpe_model,
        args.tokenizer,
    )
    found: list[str] = []
    limits = (args.min_duration, args.max_duration)
    channel = int(args.channel) if (args.channel or "").isdigit() else args.channel
    rule = _transcript_rule(args, found)
    options = PrepareOptions(args.fs, *limits, channel, args.allow_pipes, rule, args.nj)
    if args.source.resolve() == args.target.resolve():
        found.insert(0, f"SRC and DST are both {args.source}; give another DST")
    else:
        found += occupied(args.target, PREPARED, "DST")
    inputs = [args.source / name for name in FILES] + list(wanted.texts)
    check_overlap(inputs, wanted.outputs(), problems)
    tables = [args.target / name for name in FILES]
    check_overlap(tables, wanted.outputs(), problems)
    found += options.problems() + wanted.problems() + problems.messages()
    if found:
        raise UserError(found)
    return options, wanted


def _transcript_rule(args: argparse.Namespace, problems: list[str]) -> TranscriptRule | None:
    if args.unicode_form and args.normalise != "unicode":
        problems.append(f"--unicode-form {args.unicode_form} needs --normalise unicode")
    if args.language_tag and not args.language:
        problems.append("--language-tag needs --language CODE")
        return None
    if args.normalise is None and not args.language_tag:
        if args.language:
            problems.append(f"--language {args.language} needs --normalise or --language-tag")
        return None
    form = args.unicode_form or FORMS[0]
    try:
        return TranscriptRule(args.normalise, form, args.language, args.language_tag)
    except ValueError as error:
        problems.append(f"--{error}")
        return None


def _report(target: Path, record: dict[str, Any]) -> None:
    print(
        f"{target}: {record['utterances']} utterances, {record['hours']:.2f} h, "
        f"{record['converted']} converted, {record['clipped']} clipped by it, "
        f"{record['filtered']} filtered out"
        + (f" (see {target / FILTERED})" if record["filtered"] else "")
    )
    if record["blanks"]:
        kinds = ", ".join(f"{name} in {count}" for name, count in record["blanks"].items())
        print(
            f"{target / 'text'}: blanks of other kinds than one plain space, or characters that "
            f"nobody sees, are one plain space now: {kinds} transcripts"
        )


def _texts(paths: tuple[Path, ...]) -> tuple[list[str], list[str]]:
    """Transcripts of Kaldi text files, in the files' order, and the language tags in front."""
    if not all(path.is_file() for path in paths):
        raise UserError("--tokens: the set is unlabelled; name transcripts with --text FILE")
    texts: list[str] = []
    tags: dict[str, None] = {}
    problems = Problems()
    for path in paths:
        found = [plain_blanks(row.value) for row in table_rows(path, problems) if row.value]
        texts += found
        if has_language_tags(path.parent):
            tags |= dict.fromkeys(tokens.leading_tags(found))
    reserved = sorted({word for text in texts for word in text.split()} & tokens.RESERVED)
    if reserved:
        files = ", ".join(map(str, paths))
        problems.add(
            "reserved word",
            f"{files}: {', '.join(reserved)}: a symbol of token lists and cannot be a word; "
            "write another one",
        )
    problems.raise_if_any()
    return texts, list(tags)


def _write_tokens(wanted: TokenOptions, texts: list[str], tags: list[str]) -> list[str]:
    if wanted.kind == bpe.KIND:
        return bpe.write_bpe(texts, wanted.vocab_size, wanted.bpe_model, wanted.path, tags)
    return tokens.write_token_list(texts, wanted.path, wanted.kind, wanted.tokenizer, tags)


def _report_unknown(texts: list[str], tokenizer: str) -> None:
    unknown = tokens.unknown_pieces(texts, tokenizer)
    named = ", ".join(f"{word} ({count})" for word, count in unknown.most_common(_NAMED))
    if unknown:
        print(
            f"{tokenizer}: does not know {unknown.total()} of the transcripts' words, such as "
            f"{named}; they are {tokens.UNKNOWN}"
        )


def _write_tags(tags: list[str], path: Path) -> None:
    """The file for ESPnet's ``non_linguistic_symbols``; none where there are no tags."""
    if not tags:
        path.unlink(missing_ok=True)
        return
    write_text_atomic(path, "".join(f"{tag}\n" for tag in tags))
    print(f"{path}: {len(tags)} language tags, for `non_linguistic_symbols:` of the training YAML")
