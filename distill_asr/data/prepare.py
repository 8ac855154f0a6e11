"""``distill-asr prepare``: a checked data directory whose audio has one sampling rate.

Audio that is fine stays where it is; the rest is written as 16-bit wav below DST. The same
command continues after an interruption and does nothing when all is done.
"""

import argparse
import hashlib
import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from distill_asr.data import bpe, tokens
from distill_asr.data.datadir import DataDir, read_tables, report_audio
from distill_asr.data.normalise import FORMS, NORMALISERS, TranscriptRule
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import AudioFacts, BadAudioError, audio_facts, read_audio, resample
from distill_asr.io.files import atomic_write, write_text_atomic
from distill_asr.io.parallel import parallel_map

RECORD = "prepare.json"  # written last: a finished directory has it
FILTERED = "filtered"  # `id seconds reason` of each utterance left out
ORIGINAL = "text_original"  # transcripts as they came, where DST/text differs
_KEPT_FORMATS = ("WAV", "FLAC")
_FULL_SCALE = 32767
_NAMED = 5  # words that a message names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``prepare``."""
    parser.add_argument("source", type=Path, metavar="SRC", help="Kaldi-style data directory")
    parser.add_argument("target", type=Path, metavar="DST", help="directory to write")
    parser.add_argument("--fs", type=int, default=16000, help="sampling rate in Hz")
    parser.add_argument("--min-duration", type=float, default=0.1, help="seconds")
    parser.add_argument("--max-duration", type=float, default=30.0, help="seconds")
    parser.add_argument("--nj", type=int, default=min(4, os.cpu_count() or 1), help="processes")
    kinds = (*tokens.KINDS, bpe.KIND)
    parser.add_argument("--tokens", choices=kinds, help="also write a token list")
    parser.add_argument("--token-list", type=Path, help="where; needed with --tokens")
    parser.add_argument("--vocab-size", type=int, help="tokens in all; needed with --tokens bpe")
    parser.add_argument("--bpe-model", type=Path, help="where; needed with --tokens bpe")
    parser.add_argument(
        "--tokenizer",
        metavar="MODEL",
        help=f"with --tokens {tokens.PIECES}: hub id or directory of the text model",
    )
    parser.add_argument(
        "--text",
        type=Path,
        nargs="+",
        help="Kaldi text files for the token list; default: that of DST",
    )
    group = parser.add_argument_group(
        "transcripts", f"DST/text is changed; DST/{ORIGINAL} keeps what a text teacher reads"
    )
    group.add_argument(
        "--normalise",
        choices=NORMALISERS,
        help="unicode: lower-case words of any script, marks kept; letters_only: without marks, "
        "digits and apostrophes",
    )
    group.add_argument("--unicode-form", choices=FORMS, help="with unicode; default: NFC")
    group.add_argument("--language", metavar="CODE", help="such as tr, which lowers I to ı")
    group.add_argument("--language-tag", action="store_true", help="<CODE> before each transcript")


def run(args: argparse.Namespace) -> int:
    """Prepare a data directory and print what it holds; 0."""
    rule = _check_arguments(args)
    limits = (args.min_duration, args.max_duration)
    record = prepare(args.source, args.target, args.fs, *limits, nj=args.nj, rule=rule)
    print(
        f"{args.target}: {record['utterances']} utterances, {record['hours']:.2f} h, "
        f"{record['converted']} converted, {record['clipped']} clipped by it, "
        f"{record['filtered']} filtered out"
        + (f" (see {args.target / FILTERED})" if record["filtered"] else "")
    )
    if args.tokens:
        texts = _transcripts(args.text or [args.target / "text"])
        written = _write_tokens(args, texts)
        print(f"{args.token_list}: {len(written)} tokens")
        if args.tokenizer:
            _report_unknown(texts, args.tokenizer)
        _write_tags(tokens.language_tags(written), args.token_list.with_suffix(".tags"))
    return 0


def _write_tokens(args: argparse.Namespace, texts: list[str]) -> list[str]:
    if args.tokens == bpe.KIND:
        return bpe.write_bpe(texts, args.vocab_size, args.bpe_model, args.token_list)
    return tokens.write_token_list(texts, args.token_list, args.tokens, args.tokenizer)


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


@dataclass(frozen=True)
class Prepared:
    """One utterance's audio as DST refers to it."""

    path: str
    facts: AudioFacts  # of the source
    frames: int  # of the audio at ``path``
    clipped: bool


def prepare(
    source: Path,
    target: Path,
    sampling_rate: int = 16000,
    min_duration: float = 0.1,
    max_duration: float = 30.0,
    nj: int = 1,
    rule: TranscriptRule | None = None,
) -> dict[str, object]:
    """Validate ``source``, bring its audio to ``sampling_rate``, write the tables to ``target``.

    Parameters
    ----------
    sampling_rate : Hz.
    min_duration, max_duration : seconds, both allowed; utterances outside are left out and named
        in ``target/filtered``.
    nj : worker processes.
    rule : what happens to transcripts; utterances it leaves without words are left out.

    Returns
    -------
    The record that is also written to ``target/prepare.json``.

    Raises
    ------
    UserError : everything wrong with ``source`` in one report; no table is written then.
    """
    problems = Problems()
    data = read_tables(source, problems)
    settings = {
        "source": str(source),
        "sampling_rate": sampling_rate,
        "min_duration": min_duration,
        "max_duration": max_duration,
        "fingerprint": _fingerprint(data),
    }
    if rule is not None:
        settings["transcripts"] = rule.settings()
    done = None if len(problems) else _finished(target, settings)
    if done is not None:
        return done
    work = partial(_prepare_one, target / "wav", sampling_rate, (min_duration, max_duration))
    results = parallel_map(work, list(data.wav.items()), nj, f"prepare {source}")
    results = dict(zip(data.wav, results, strict=True))
    facts = {key: one.facts if isinstance(one, Prepared) else one for key, one in results.items()}
    report_audio(data, facts, problems)
    problems.raise_if_any()
    return _write(data, results, target, settings, rule)


def _prepare_one(
    folder: Path, rate: int, limits: tuple[float, float], item: tuple[str, str]
) -> Prepared | BadAudioError:
    key, path = item
    output = folder / f"{key}.wav"
    try:
        samples = _converted_before(output, path, rate)
        if samples is not None:
            return _converted(output, audio_facts(path), samples)
        read, facts = read_audio(path)
    except BadAudioError as bad:
        return bad
    fine = facts.rate == rate and facts.format in _KEPT_FORMATS
    if fine or not limits[0] <= facts.seconds <= limits[1]:
        return Prepared(path, facts, facts.frames, False)
    resampled = np.clip(resample(read, facts.rate, rate), -1.0, 1.0)
    samples = np.round(resampled * _FULL_SCALE).astype(np.int16)
    _write_wav(output, samples, rate, os.stat(path).st_mtime_ns)
    return _converted(output, facts, samples)


def _converted(output: Path, facts: AudioFacts, samples: np.ndarray) -> Prepared:
    clipped = int(np.max(np.abs(samples.astype(np.int32)))) >= _FULL_SCALE
    return Prepared(str(output), facts, len(samples), clipped)


def _converted_before(output: Path, path: str, rate: int) -> np.ndarray | None:
    """int16 samples of an earlier, interrupted run; its file has the time stamp of the source."""
    import soundfile

    try:
        if output.stat().st_mtime_ns != os.stat(path).st_mtime_ns:
            return None
    except OSError:
        return None
    samples, found = soundfile.read(output, dtype="int16")
    return samples if found == rate else None


def _write_wav(path: Path, samples: np.ndarray, rate: int, time_ns: int) -> None:
    import soundfile

    with atomic_write(path) as temporary:
        soundfile.write(temporary, samples, rate, format="WAV", subtype="PCM_16")
        os.utime(temporary, ns=(time_ns, time_ns))


def _write(
    data: DataDir,
    results: dict[str, Prepared],
    target: Path,
    settings: dict[str, object],
    rule: TranscriptRule | None,
) -> dict[str, object]:
    original = None if rule is None else data.text
    if original is not None:
        data = replace(data, text={key: rule(words) for key, words in original.items()})
    limits = (settings["min_duration"], settings["max_duration"])
    kept, filtered = _filter(results, data.text, *limits)
    if not kept:
        raise UserError(
            f"{data.path}: all {len(results)} utterances are shorter than {limits[0]} s or longer "
            f"than {limits[1]} s, or have no words; change --min-duration or --max-duration"
        )
    chosen = [results[key] for key in kept]
    converted = [one for key, one in results.items() if one.path != data.wav[key]]
    record = {
        "utterances": len(kept),
        "hours": round(sum(one.frames for one in chosen) / settings["sampling_rate"] / 3600, 6),
        "converted": len(converted),
        "clipped": sum(one.clipped for one in chosen),
        "filtered": len(filtered),
        "settings": settings,
    }
    prepared = replace(
        data,
        wav={key: one.path for key, one in results.items()},
        num_samples={key: one.frames for key, one in results.items()},
    ).select(kept)
    (target / RECORD).unlink(missing_ok=True)  # from here on the tables may be old and new
    write_text_atomic(target / FILTERED, "".join(f"{line}\n" for line in filtered))
    _write_original(original, kept, target / ORIGINAL)
    prepared.write(target)
    write_text_atomic(target / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _write_original(original: dict[str, str] | None, kept: list[str], path: Path) -> None:
    if original is None:
        path.unlink(missing_ok=True)
    else:
        write_text_atomic(path, "".join(f"{key} {original[key]}\n" for key in kept))


def _filter(
    results: dict[str, Prepared], text: dict[str, str] | None, shortest: float, longest: float
) -> tuple[list[str], list[str]]:
    kept, filtered = [], []
    for key, one in results.items():
        seconds = one.facts.seconds
        reason = None
        if not shortest <= seconds <= longest:
            reason = f"under {shortest} s" if seconds < shortest else f"over {longest} s"
        elif text is not None and not text[key]:
            reason = "no words left by --normalise"
        if reason is None:
            kept.append(key)
        else:
            filtered.append(f"{key} {seconds:.3f} {reason}")
    return kept, filtered


def _fingerprint(data: DataDir) -> str:
    """Changes with any table entry and with any audio file's size or time."""
    digest = hashlib.sha256()
    for key, path in data.wav.items():
        try:
            state = os.stat(path)
            stamp = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            stamp = "missing"
        words = None if data.text is None else data.text.get(key)
        digest.update(repr((key, path, stamp, words, data.utt2spk.get(key))).encode())
    return digest.hexdigest()


def _finished(target: Path, settings: dict[str, object]) -> dict[str, object] | None:
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record if record["settings"] == settings else None


def _check_arguments(args: argparse.Namespace) -> TranscriptRule | None:
    problems = []
    if args.source.resolve() == args.target.resolve():
        problems.append(f"SRC and DST are both {args.source}; give another DST")
    if args.fs <= 0:
        problems.append(f"--fs {args.fs}: expected a positive number of Hz")
    if not 0 <= args.min_duration <= args.max_duration:
        problems.append(
            f"--min-duration {args.min_duration} --max-duration {args.max_duration}: expected "
            "0 <= min <= max"
        )
    if args.tokens and not args.token_list:
        problems.append("--tokens needs --token-list PATH")
    if not args.tokens and (args.token_list or args.text):
        kinds = "|".join((*tokens.KINDS, bpe.KIND))
        problems.append(f"--token-list and --text need --tokens {kinds}")
    problems += _bpe_problems(args)
    if (args.tokens == tokens.PIECES) != bool(args.tokenizer):
        problems.append(f"--tokens {tokens.PIECES} and --tokenizer MODEL need each other")
    problems += [f"--text {path}: no such file" for path in args.text or () if not path.is_file()]
    rule = _transcript_rule(args, problems)
    if problems:
        raise UserError(problems)
    return rule


def _bpe_problems(args: argparse.Namespace) -> list[str]:
    given = {"--vocab-size N": args.vocab_size, "--bpe-model PATH": args.bpe_model}
    if args.tokens != bpe.KIND:
        return [f"{name} needs --tokens bpe" for name, value in given.items() if value is not None]
    return [f"--tokens bpe needs {name}" for name, value in given.items() if value is None]


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


def _transcripts(paths: list[Path]) -> list[str]:
    """Transcripts of Kaldi text files, in the files' order."""
    if not all(path.is_file() for path in paths):
        raise UserError("--tokens: the set is unlabelled; name transcripts with --text FILE")
    texts = []
    for path in paths:
        for line in path.read_text(encoding="utf-8").split("\n"):
            texts += line.split(maxsplit=1)[1:]
    return texts
