"""`distill-asr demo`: speak, and see students recognise side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from distill_asr.errors import UserError

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.description = (
        "Serve a page on this machine (127.0.0.1, reachable from nowhere else): speak, or drop an "
        "audio file, and see the words of every student come, with their latency. Streaming "
        "students recognise as the audio comes; others recognise all of it again every second. "
        "Ctrl-C ends it."
    )
    add = parser.add_argument
    add("experiments", nargs="+", type=Path, metavar="EXPERIMENT",
        help="trained students, such as exp/baseline_seed1 exp/both_seed1")  # fmt: skip
    add("--port", type=int, default=PORT, help="TCP port; 0 takes a free one (%(default)s)")
    add("--device", default="cpu", help="torch device of the students (%(default)s)")
    add("--max-seconds", type=float, default=120, metavar="SECONDS",
        help="longest recording (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Load the students and serve until interrupted.

    Raises
    ------
    UserError : aiohttp is not installed; experiments that cannot be loaded; options out of range.
    """
    problems = []
    if not 0 <= args.port <= 65535:
        problems.append(f"--port {args.port}: expected 0 to 65535")
    if args.max_seconds <= 0:
        problems.append(f"--max-seconds {args.max_seconds}: expected more than 0")
    problems += [
        f"{path}: no such directory; expected an experiment, such as exp/baseline_seed1"
        for path in args.experiments
        if not path.is_dir()
    ]
    names = [path.resolve().name for path in args.experiments]
    problems += [
        f"{name}: given {names.count(name)} times; the page needs different names"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise UserError(problems)
    try:
        from aiohttp import web

        from distill_asr.demo.server import HOST, Demo, build_app
    except ImportError as error:
        raise UserError("the demo needs aiohttp: pip install distill_asr[demo]") from error
    from distill_asr.demo.listeners import load_listeners

    listeners, rate = load_listeners(args.experiments, args.device)
    app = build_app(Demo(listeners, rate, args.max_seconds))
    web.run_app(app, host=HOST, port=args.port)
    return 0
