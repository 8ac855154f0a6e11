#!/usr/bin/env python3
"""One language of Common Voice as data/{train,dev,test}, by the official splits."""

import argparse
import os
import sys
from pathlib import Path

from distill_asr.corpora import commonvoice
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", required=True, help="Common Voice's code, such as ta")
    parser.add_argument(
        "--commonvoice",
        default=os.environ.get("COMMONVOICE"),
        help="folder with LANGUAGE/ or cv-corpus-*/LANGUAGE/ or *-LANGUAGE.tar.gz; "
        "default: $COMMONVOICE",
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--downloads", type=Path, default=Path("downloads"), help="for archives")
    parser.add_argument("--max-seconds", type=float, help="leave longer clips out (published: 10)")
    parser.add_argument("--max-characters", type=int, help="and longer sentences (published: 200)")
    parser.add_argument(
        "--limit",
        default="train",
        help="sets that lose these, split by commas (published: train,dev,test); default: train",
    )
    parser.add_argument("--nj", type=int, default=2, help="processes")
    args = parser.parse_args()
    limits = commonvoice.Limits(args.max_seconds, args.max_characters, tuple(args.limit.split(",")))
    try:
        sets = commonvoice.build(
            args.out, args.commonvoice, args.language, limits, args.downloads, args.nj
        )
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    print(commonvoice.describe(sets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
