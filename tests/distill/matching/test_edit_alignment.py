"""Laws of the alignment by edit distance."""

from hypothesis import given
from hypothesis import strategies as st

from distill_asr.distill.matching.edit_alignment import blocks, paired_units

TOKENS = st.lists(st.integers(2, 6), max_size=12)


def distance(a: list[int], b: list[int]) -> int:
    """Levenshtein's, by the textbook table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


@given(TOKENS, TOKENS)
def test_blocks_cover_both_and_cost_the_edit_distance(found: list[int], expected: list[int]):
    found_at = expected_at = cost = 0
    for block in blocks(found, expected):
        assert block.found[0] == found_at and block.expected[0] == expected_at
        found_at, expected_at = block.found[1], block.expected[1]
        parts = found[slice(*block.found)], expected[slice(*block.expected)]
        assert not block.equal or parts[0] == parts[1]
        cost += 0 if block.equal else max(block.sizes)
    assert (found_at, expected_at) == (len(found), len(expected))
    assert cost <= distance(found, expected)


@given(TOKENS, TOKENS)
def test_pairs_rise_on_both_sides_and_most_with_stretching(found: list[int], expected: list[int]):
    for stretch in (False, True):
        pairs = paired_units(found, expected, stretch)
        ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
        assert ours == sorted(set(ours)) and theirs == sorted(theirs)
    assert len(paired_units(found, expected)) <= len(pairs)


@given(TOKENS)
def test_a_sequence_with_itself(tokens: list[int]):
    assert paired_units(tokens, tokens) == [(i, i) for i in range(len(tokens))]


def test_blocks_of_equal_and_unequal_length():
    assert paired_units([1, 7, 8, 3], [1, 2, 4, 3]) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert paired_units([1, 7, 3], [1, 2, 4, 3]) == [(0, 0), (2, 3)]
    assert paired_units([1, 7, 3], [1, 2, 4, 3], True) == [(0, 0), (1, 1), (2, 3)]
    assert paired_units([1, 3], [1, 2, 4, 3], True) == [(0, 0), (1, 3)]
    assert paired_units([], [1]) == []
