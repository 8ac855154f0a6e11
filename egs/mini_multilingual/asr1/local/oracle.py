#!/usr/bin/env python3
"""What would a perfect text model give? Run from the recipe, after its decoding.

    local/oracle.py plain "ka ta et"

For each language, every decoded test sentence is replaced by the nearest one (Levenshtein distance
in characters) of those that it has: the test's own and 4200 drawn as the text model's.
Whoever knows exactly what can be said makes the errors that are left; no text model knows more.
"""

import argparse
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from distill_asr.corpora import multilingual
from distill_asr.data.normalise import unicode_words
from distill_asr.scoring.wer import count_edits, read_text, total


def possible(language: str, references: list[str]) -> list[str]:
    """Sentences of the language as a student writes them, those of the test among them."""
    size = multilingual.Size()
    count = size.sentences + size.dev_sentences
    drawn = multilingual.draw(language, "text", count, 0, frozenset())
    written = (unicode_words(line, language=language) for line in drawn)
    return sorted({*written, *references})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", help="experiment, without its seed")
    parser.add_argument("languages", help="codes, separated by spaces")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("| language | WER | CER | oracle WER | oracle CER |\n| :-- | --: | --: | --: | --: |")
    for language in args.languages.split():
        folder = Path("langs") / language
        references = read_text(folder / "dump/test/text")
        decoded = read_text(folder / f"exp/{args.system}_seed{args.seed}/decode/test/text")
        options = possible(language, list(references.values()))
        nearest = {
            key: process.extractOne(line, options, scorer=Levenshtein.distance)[0]
            for key, line in decoded.items()
        }
        found = (total(count_edits(references, one).values()) for one in (decoded, nearest))
        rates = [100 * kind.rate for edits in found for kind in (edits.words, edits.characters)]
        print(f"| {language} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |")


if __name__ == "__main__":
    main()
