#!/usr/bin/env python3
"""How often do decoded students write the right one of two homophones? Run from the recipe.

    local/chosen.py exp/plain_seed1 exp/aligned_seed1

Of the test's words that have a homophone, and where one of the two was written: the share that is
right. Hypotheses are aligned with the transcripts by edit distance.
"""

import argparse
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from distill_asr.corpora.homophones import PAIRS
from distill_asr.io.tables import read_table

OTHER = {word: other for _, a, _, b in PAIRS for word, other in ((a, b), (b, a))}


def chosen(expected: list[str], found: list[str]) -> list[bool]:
    """For each word with a homophone, of which one was written, whether it is the right one."""
    answers = []
    for code in Levenshtein.opcodes(expected, found):
        pairs = zip(
            expected[code.src_start : code.src_end],
            found[code.dest_start : code.dest_end],
            strict=False,
        )
        answers += [a == b for a, b in pairs if a in OTHER and b in (a, OTHER[a])]
    return answers


def main() -> None:
    """Print a line an experiment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--set", default="test")
    options = parser.parse_args()
    texts = read_table(Path("dump") / options.set / "text")
    for experiment in options.experiments:
        found = read_table(Path(experiment) / "decode" / options.set / "text")
        answers = [
            right
            for utterance, text in texts.items()
            for right in chosen(text.split(), found.get(utterance, "").split())
        ]
        share = 100 * sum(answers) / max(len(answers), 1)
        print(f"{experiment}: {share:.1f} % of {len(answers)} rightly")


if __name__ == "__main__":
    main()
