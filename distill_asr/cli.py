"""The command line: a table of contents. Every verb lives in its own module."""

import argparse
import difflib
import importlib
import io
import logging
import os
import select
import sys
import warnings
from collections.abc import Sequence

from distill_asr import __version__
from distill_asr.errors import UserError, os_error_message

# Modules are imported for the verb given and for no other: --help must not wait for torch.
# Each has `add_arguments(parser)` and `run(args) -> int`.
VERBS = {
    "init": ("distill_asr.start.command", "make a recipe from your own recordings"),
    "plan": ("distill_asr.start.plan_command", "time, disk and memory that a recipe will take"),
    "corpus": ("distill_asr.corpora.command", "build the data directories of a corpus"),
    "recipe": ("distill_asr.recipe.command", "compute the systems of a recipe, stage by stage"),
    "prepare": (
        "distill_asr.data.prepare_command",
        "check a data directory and bring its audio to 16 kHz",
    ),
    "dump": ("distill_asr.dump.command", "compute a teacher's targets for data directories"),
    "targets": (
        "distill_asr.dump.targets_command",
        "inspect, verify and compare dumped targets",
    ),
    "train": ("distill_asr.train.command", "train a student from a config"),
    "train-teacher": (
        "distill_asr.train_teacher.command",
        "train a small teacher of a recipe's own",
    ),
    "decode": ("distill_asr.decode.command", "recognise a data directory with a trained student"),
    "stream": ("distill_asr.decode.stream_command", "recognise audio as it comes in"),
    "pseudo-label": (
        "distill_asr.decode.pseudo_label_command",
        "transcribe unlabelled audio to train on",
    ),
    "score": (
        "distill_asr.scoring.command",
        "compute the error rates of systems in one table",
    ),
    "report": (
        "distill_asr.report.command",
        "write one HTML page about experiments, or a table by language",
    ),
    "demo": ("distill_asr.demo.command", "a local page to speak to students, side by side"),
    "validate": ("distill_asr.train.validate_command", "report every mistake in a config at once"),
    "export": (
        "distill_asr.experiments.export.command",
        "turn a trained student into files that run elsewhere",
    ),
}
PROG = "distill-asr"
INTERRUPTED = 128 + 2  # what a shell reports for a process ended by SIGINT ...
BROKEN_PIPE = 128 + 13  # ... and by SIGPIPE
_NAME_SHOWN = 200  # characters


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``distill-asr VERB ...`` and return the exit code.

    0 done; 1 mistakes of the user, listed on stderr; 2 wrong usage; 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else a caller's own
            # a terminal that knows fewer characters than a transcript gets their numbers
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            code = _run(argv)
        except SystemExit as ended:  # argparse: help was shown, or the usage is wrong
            code = ended.code
        sys.stdout.flush()  # here, where a reader that left can still be caught
        return code
    except BrokenPipeError:
        if not _stdout_is_broken():
            raise  # some other pipe, and no matter to be silent about
        # keep the interpreter from trying again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(argv: list[str]) -> int:
    verb = _verb(argv[:1])
    _hush_libraries()
    try:
        module = importlib.import_module(VERBS[verb][0])
        parser = argparse.ArgumentParser(prog=f"{PROG} {verb}")
        module.add_arguments(parser)
        return module.run(parser.parse_args(argv[1:]))
    except UserError as error:
        return _report(verb, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):
            raise  # no matter of files
        return _report(verb, UserError(os_error_message(error)))
    except UnicodeEncodeError as error:
        if (encoding := sys.getfilesystemencoding()) == "utf-8":
            raise  # no matter of names
        name = error.object[:_NAME_SHOWN]
        return _report(verb, UserError(
            f"{name}: the locale's encoding, {encoding}, cannot spell this name of a file; run the "
            "same command with LC_ALL=C.UTF-8, or PYTHONUTF8=1"
        ))  # fmt: skip
    except KeyboardInterrupt:
        print(f"{PROG} {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _hush_libraries() -> None:
    """Keep what libraries tell their developers off the terminal; ``python -W`` brings it back."""
    if not sys.warnoptions:
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)


def _verb(first: list[str]) -> str:
    """Verb that the first argument names; --help, --version and wrong ones end here."""
    listing = "\n".join(f"  {verb:<14}{what}" for verb, (_, what) in VERBS.items())
    parser = argparse.ArgumentParser(
        prog=PROG,
        usage=f"{PROG} [--help] [--version] VERB ...",
        description=f"Distil large frozen models into small ESPnet recognisers.\n\n"
        f"verbs:\n{listing}",
        epilog=f"{PROG} VERB --help lists the options of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    parser.add_argument("verb", metavar="VERB", help=argparse.SUPPRESS)
    verb = parser.parse_args(first).verb
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(VERBS)}"
        parser.error(f"unknown verb {verb!r}{hint}")
    return verb


def _report(verb: str, error: UserError) -> int:
    count = len(error.problems)
    plural = "problem" if count == 1 else "problems"
    lines = [_visible(line) for line in (*error.problems, *error.advice)]
    print(f"{PROG} {verb}: error: {count} {plural}", *lines, sep="\n", file=sys.stderr)
    return 1


def _visible(text: str) -> str:
    """What a message quotes of a file, without what a terminal would obey or not show."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def _stdout_is_broken() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
