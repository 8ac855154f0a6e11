#!/usr/bin/env python3
"""How often is a student's unit paired with a piece of text that it is part of?

    (cd langs/fi && distill-asr decode --exp exp/plain_seed1 --data dump/train --method greedy)
    local/pairs.py plain fi

Units are the characters that a student writes of its training audio; they are paired with the text
model's positions as in training. A pair is right where the piece has the character. Beside it: the
same for units paired with any position of their sentence, and how many sentences have a unit for
every character.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from distill_asr.distill.matching.shrink import SPECIAL_TOKENS, ShrinkMatcher
from distill_asr.distill.states import Context, States
from distill_asr.io.tables import read_table

MODEL = "exp/models/xlmr"
SPACE, MARK = "<space>", "▁"


def rates(folder: Path, system: str, special: str, tokenizer) -> tuple[float, float, float]:
    """Shares: right pairs, the same by chance, sentences with as many units as characters."""
    data = folder / "dump/train"
    read, written = (read_table(data / name) for name in ("text_original", "text"))
    right, chance, whole = [], [], []
    lines = (folder / f"exp/{system}_seed1/decode/train/nbest.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        row = json.loads(line)
        units = [MARK if t == SPACE else t for t in row["nbest"][0]["tokens"]]
        whole.append(len(units) == len(written[row["utt"]]))
        if len(units) < 2:  # frames are paired then, not units
            continue
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(read[row["utt"]])["input_ids"])
        has = np.array([[unit in piece.lower() for piece in pieces] for unit in units])
        places = paired(len(units), len(pieces), special)
        right += has[np.arange(len(units)), places].tolist()
        chance += has.mean(axis=1).tolist()
    return float(np.mean(right)), float(np.mean(chance)), float(np.mean(whole))


def paired(units: int, positions: int, special: str) -> np.ndarray:
    """The position that each unit is paired with."""
    student = States(torch.zeros(1, units, 1), torch.tensor([units]), None)
    values = torch.arange(positions, dtype=torch.float32).reshape(1, -1, 1)
    teacher = States(values, torch.tensor([positions]), None)
    matcher = ShrinkMatcher(units="all", special_tokens=special)
    return matcher(student, teacher, Context()).teacher[:, 0].long().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", help="experiment, without its seed")
    parser.add_argument("languages", help="codes, separated by spaces")
    parser.add_argument("--special-tokens", choices=SPECIAL_TOKENS, default="keep")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    print("| language | right pairs | by chance | as many units as characters |")
    print("| :-- | --: | --: | --: |")
    for language in args.languages.split():
        found = rates(Path("langs") / language, args.system, args.special_tokens, tokenizer)
        print(f"| {language} | " + " | ".join(f"{100 * rate:.0f} %" for rate in found) + " |")


if __name__ == "__main__":
    main()
