#!/usr/bin/env python3
"""LibriSpeech as data directories: data/{train,unlab,dev,test_clean,test_other}."""

import argparse
import os
import sys
from pathlib import Path

from distill_asr.corpora import librispeech
from distill_asr.corpora.distributed import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--librispeech", default=os.environ.get("LIBRISPEECH"), help="corpus; default: $LIBRISPEECH"
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--sets", default=",".join(librispeech.SETS), help="comma-separated")
    parser.add_argument("--partial", action="store_true", help="use whichever parts are there")
    args = parser.parse_args()
    sets = args.sets.split(",")
    try:
        print(describe(librispeech.build(args.out, args.librispeech, sets, args.partial)))
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
