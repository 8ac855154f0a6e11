#!/usr/bin/env python3
"""Join FSDD recordings to digit strings: data/{train,unlab,dev,test,test_left_out,teacher_*}."""

import argparse
import os
import sys
from pathlib import Path

from distill_asr.corpora import fsdd
from distill_asr.corpora.generated import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fsdd", default=os.environ.get("FSDD"), help="dataset; default: $FSDD")
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--left-out", help="speaker for test_left_out; default: the last name")
    parser.add_argument("--label-share", type=float, default=0.02)
    parser.add_argument("--nj", type=int, default=2, help="worker processes")
    args = parser.parse_args()
    try:
        sets = fsdd.build(
            args.out, args.fsdd, args.seed, args.left_out, args.label_share, nj=args.nj
        )
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    print(describe(sets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
