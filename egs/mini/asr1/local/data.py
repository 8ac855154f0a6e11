#!/usr/bin/env python3
"""Build the embedded English corpus: data/{train,unlab,dev,test_*,teacher_*}."""

import argparse
import sys
from pathlib import Path

from distill_asr.corpora import mini
from distill_asr.corpora.generated import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=int, default=2, help="worker processes")
    args = parser.parse_args()
    try:
        print(describe(mini.build(args.out, args.seed, nj=args.nj)))
        print(f"vocabulary: {len(mini.vocabulary())} words")
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
