"""Which units of a decoded sequence stand for which units of its reference, by edit distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Block:
    """A stretch of both sequences: equal units, or everything between two equal stretches.

    The ranges are half-open; one of them may be empty if the block is not a match.
    """

    equal: bool
    found: tuple[int, int]  # of the decoded sequence
    expected: tuple[int, int]  # of the reference

    @property
    def sizes(self) -> tuple[int, int]:
        """Units on either side."""
        return self.found[1] - self.found[0], self.expected[1] - self.expected[0]


def blocks(found: Sequence[int], expected: Sequence[int]) -> list[Block]:
    """Blocks of a best alignment by Levenshtein distance, in order, covering both sequences.

    Parameters
    ----------
    found : ids of the decoded sequence.
    expected : ids of its reference.
    """
    merged: list[Block] = []
    for code in Levenshtein.opcodes(found, expected):
        equal = code.tag == "equal"
        if merged and not equal and not merged[-1].equal:
            last = merged.pop()
            begins = last.found[0], last.expected[0]
        else:
            begins = code.src_start, code.dest_start
        merged.append(Block(equal, (begins[0], code.src_end), (begins[1], code.dest_end)))
    return merged


def paired_units(
    found: Sequence[int], expected: Sequence[int], stretch: bool = False
) -> list[tuple[int, int]]:
    """Pairs (decoded unit, reference unit) in order.

    Equal units are paired, and so are the units of a block between two equal stretches where it is
    as long on both sides, one by one: the decoder made as many units there, only others. Blocks of
    unequal lengths are left out, or the reference is stretched to the decoded units (nearest).

    Parameters
    ----------
    found, expected : token ids.
    stretch : pair blocks of unequal lengths too, where neither side is empty.
    """
    pairs: list[tuple[int, int]] = []
    for block in blocks(found, expected):
        ours, theirs = block.sizes
        if ours == theirs or (stretch and ours and theirs):
            first, other = block.found[0], block.expected[0]
            pairs += [(first + i, other + i * theirs // ours) for i in range(ours)]
    return pairs
