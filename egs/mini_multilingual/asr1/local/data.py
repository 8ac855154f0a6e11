#!/usr/bin/env python3
"""Build synthetic speech of one language, of several, or what both models are pre-trained on."""

import argparse
import sys
import time
from pathlib import Path

from distill_asr.corpora import multilingual
from distill_asr.corpora.generated import describe
from distill_asr.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data"), help="data directory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=int, default=2, help="worker processes")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--language", help="OUT/{train,dev,test}")
    what.add_argument("--joint", help="codes, split by commas: OUT/CODE_{train,dev,test} of each")
    what.add_argument("--pretraining", action="store_true", help="OUT/{pretrain,pretrain_dev}")
    what.add_argument("--text", help="codes, split by commas: OUT/{train,dev}.txt")
    args = parser.parse_args()
    start = time.time()
    try:
        print(build(args))
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    print(f"{time.time() - start:.1f} s")
    return 0


def build(args: argparse.Namespace) -> str:
    """Build what was asked for; give a table of it."""
    if args.text:
        counts = multilingual.build_text(args.out, args.text.split(","), args.seed)
        return ", ".join(f"{name}: {count} sentences" for name, count in counts.items())
    if args.pretraining:
        return describe(multilingual.build_pretraining(args.out, args.seed, nj=args.nj))
    if args.language:
        return describe(multilingual.build_language(args.out, args.language, args.seed, nj=args.nj))
    manifests = {}
    for code in args.joint.split(","):
        manifests |= multilingual.build_language(
            args.out, code, args.seed, prefix=f"{code}_", nj=args.nj
        )
    return describe(manifests)


if __name__ == "__main__":
    sys.exit(main())
