#!/usr/bin/env python3
"""Build the embedded corpus of homophones: data/{train,dev,test}, and text in data/text."""

import argparse
import sys
from pathlib import Path

from distill_asr.corpora import homophones
from distill_asr.corpora.generated import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=int, default=2, help="worker processes")
    parser.add_argument("--utterances", type=int, help="of each set at most, for a first look")
    args = parser.parse_args()
    sets = homophones.shrunk(args.utterances) if args.utterances else None
    try:
        print(describe(homophones.build(args.out, args.seed, sets, nj=args.nj)))
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    words, pairs = homophones.vocabulary(), homophones.PAIRS
    print(f"{len(pairs)} pairs of homophones, vocabulary: {len(words)} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
