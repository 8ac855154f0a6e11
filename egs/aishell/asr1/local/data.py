#!/usr/bin/env python3
"""AISHELL-1 as data directories: data/{train,dev,test}."""

import argparse
import os
import sys
from pathlib import Path

from distill_asr.corpora import aishell
from distill_asr.corpora.distributed import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--aishell", default=os.environ.get("AISHELL"), help="corpus; default: $AISHELL"
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    args = parser.parse_args()
    try:
        sets, left_out = aishell.build(args.out, args.aishell)
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    print(describe(sets))
    counts = ", ".join(f"{count} in {name}" for name, count in left_out.items())
    print(f"recordings without a transcript, left out: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
