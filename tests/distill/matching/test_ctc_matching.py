"""CTC matching: which frames count, at which delay, and averages of probabilities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.ctc import CTCMatcher
from distill_asr.distill.states import Context, Pairs, States

STEP, BLANK = 40.0, 0


def sides(symbols: list[list[int]], extra: int = 0, ratio: int = 1) -> tuple[States, States]:
    """A teacher whose likeliest token is as given; a student whose logits tell (b, t)."""
    lengths = torch.tensor([len(row) for row in symbols])
    frames = int(lengths.max()) + extra
    said = torch.full((len(symbols), frames, 4), -5.0)
    told = torch.zeros(len(symbols), frames // ratio, 4)
    for index, row in enumerate(symbols):
        for time, symbol in enumerate(row):
            said[index, time, symbol] = 1.0 + time
        told[index, :, 0] = index
        told[index, :, 1] = torch.arange(frames // ratio)
    teacher = States(said.log_softmax(-1), lengths, STEP / ratio)
    return States(told, lengths // ratio, STEP), teacher


def places(pairs: Pairs) -> list[tuple[int, int]]:
    """(utterance, student frame)."""
    assert torch.equal(pairs.student[:, 0].long(), pairs.utterance)
    return [(int(b), int(t)) for b, t in pairs.student[:, :2].tolist()]


SYMBOLS = [[0, 2, 0, 0, 0, 3], [0, 0, 1]]


def test_every_frame_or_none_of_the_blanks_or_those_near_others() -> None:
    student, teacher = sides(SYMBOLS, extra=2)
    every = places(CTCMatcher()(student, teacher, Context()))
    assert every == [(0, t) for t in range(6)] + [(1, t) for t in range(3)]
    dropped = places(CTCMatcher(blank="drop")(student, teacher, Context()))
    assert dropped == [(0, 1), (0, 5), (1, 2)]
    near = places(CTCMatcher(blank="near")(student, teacher, Context()))
    assert near == [(0, 0), (0, 1), (0, 2), (0, 4), (0, 5), (1, 1), (1, 2)]
    wide = places(CTCMatcher(blank="near", margin=9)(student, teacher, Context()))
    assert wide == every
    assert places(CTCMatcher(blank="near", margin=0)(student, teacher, Context())) == dropped


def test_another_number_for_the_blank() -> None:
    student, teacher = sides(SYMBOLS)
    found = places(CTCMatcher(blank="drop", blank_id=3)(student, teacher, Context()))
    assert (0, 5) not in found and len(found) == 8


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=3),
    st.integers(0, 3), st.integers(0, 3), st.integers(0, 2),
)  # fmt: skip
def test_delays_stay_inside_and_are_alternatives(
    symbols: list, delay: int, window: int, extra: int
) -> None:
    student, teacher = sides(symbols, extra)
    pairs = CTCMatcher(delay=delay * STEP, window=window * STEP)(student, teacher, Context())
    expected = [
        (index, time, time + shift)
        for index, row in enumerate(symbols)
        for time in range(len(row))
        for shift in range(delay - window, delay + 1)
        if 0 <= time + shift < len(row)
    ]
    assert places(pairs) == [(index, frame) for index, _, frame in expected]
    for row, (index, time, _) in zip(pairs.teacher, expected, strict=True):
        assert torch.equal(row, teacher.values[index, time])
    if window:
        groups = [(index, time) for index, time, _ in expected]
        found = pairs.alternatives.tolist()
        assert all((a == b) == (x == y) for a, x in zip(found, groups, strict=True)
                   for b, y in zip(found, groups, strict=True))  # fmt: skip


def test_a_faster_teacher_is_averaged_as_probabilities() -> None:
    student, teacher = sides([[0, 1, 2, 2, 3]], ratio=2)
    pairs = CTCMatcher()(student, teacher, Context())
    probabilities = teacher.values.exp()[0]
    expected = torch.stack([probabilities[0:2].mean(0), probabilities[2:4].mean(0)])
    torch.testing.assert_close(pairs.teacher.exp(), expected)
    torch.testing.assert_close(pairs.teacher.exp().sum(1), torch.ones(2))


def test_utterances_without_targets_give_no_pairs() -> None:
    student, teacher = sides(SYMBOLS)
    some = States(teacher.values, torch.tensor([6, 0]), STEP)
    assert {b for b, _ in places(CTCMatcher()(student, some, Context()))} == {0}
    none = States(teacher.values[:, :0], torch.tensor([0, 0]), STEP)
    for blank in ("keep", "near", "drop"):
        assert places(CTCMatcher(blank=blank)(student, none, Context())) == []


@pytest.mark.parametrize(
    ("conf", "said"),
    [({"blank": "no"}, "blank"), ({"margin": -1}, "margin"), ({"window": -1.0}, "window")],
)
def test_bad_options(conf: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CTCMatcher(**conf)
