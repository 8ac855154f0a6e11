"""Frame matching against a plain loop, and its laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.distill.matching import MATCHERS
from distill_asr.distill.matching.frame import FrameMatcher
from distill_asr.distill.states import Context, Pairs, States

STEP = 20.0  # of the teacher, ms


def batch(
    pairs: list[tuple[int, int]], ratio: int, extra: int = 0, fill: float = 0.0, seed: int = 0
) -> tuple[States, States]:
    """Utterances of (student frames, teacher frames), width 2 and 3, padded by ``extra`` more."""
    generator = torch.Generator().manual_seed(seed)
    sides = []
    for side, width in enumerate((2, 3)):
        lengths = torch.tensor([pair[side] for pair in pairs])
        values = torch.full((len(pairs), int(lengths.max()) + extra, width), fill)
        for row, length in zip(values, lengths.tolist(), strict=True):
            row[:length] = torch.randn(length, width, generator=generator)
        sides.append(States(values, lengths, STEP * ratio if side == 0 else STEP))
    return sides[0], sides[1]


def by_hand(
    student: States, teacher: States, ratio: int, reduction: str, shift: int
) -> list[tuple[list[float], list[float], int]]:
    """The same with loops and lists."""
    found = []
    for index in range(len(student.lengths)):
        spoken = student.values[index, : student.lengths[index]].tolist()
        said = teacher.values[index, : teacher.lengths[index]].tolist()
        for time in range(len(said) // ratio):
            if time + shift >= len(spoken):
                break
            group = said[time * ratio : (time + 1) * ratio]
            if reduction == "concat":
                joined = [value for frame in group for value in frame]
            else:
                joined = [sum(column) / ratio for column in zip(*group, strict=True)]
            found.append((spoken[time + shift], joined, index))
    return found


def same(one: Pairs, other: Pairs) -> bool:
    return (
        torch.equal(one.student, other.student)
        and torch.equal(one.teacher, other.teacher)
        and torch.equal(one.utterance, other.utterance)
    )


@st.composite
def utterances(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A ratio and lengths within the tolerance of 3 student frames; some without a teacher."""
    ratio = draw(st.integers(1, 4))
    pairs = []
    for _ in range(draw(st.integers(1, 4))):
        frames = draw(st.integers(0, 8))
        groups = max(0, frames + draw(st.integers(-3, 3)))
        positions = groups * ratio + draw(st.integers(0, ratio - 1))
        pairs.append((frames, draw(st.sampled_from([0, positions]))))
    return ratio, pairs


@settings(deadline=None, max_examples=60)
@given(utterances(), st.sampled_from(["concat", "average"]), st.integers(0, 3), st.integers(0, 3))
def test_equals_the_plain_loop_whatever_the_padding(
    drawn: tuple[int, list[tuple[int, int]]], reduction: str, shift: int, extra: int
) -> None:
    ratio, pairs = drawn
    student, teacher = batch(pairs, ratio, extra, fill=float("nan"))
    matcher = FrameMatcher(reduction, delay=shift * STEP * ratio)
    found = matcher(student, teacher, Context())
    expected = by_hand(student, teacher, ratio, reduction, shift)
    assert found.utterance.tolist() == [index for _, _, index in expected]
    assert found.student.tolist() == [values for values, _, _ in expected]
    width = matcher.paired_width(3, STEP * ratio, STEP)
    wanted = torch.tensor([values for _, values, _ in expected]).reshape(-1, width)
    torch.testing.assert_close(found.teacher, wanted)


@settings(deadline=None, max_examples=40)
@given(utterances(), st.integers(1, 5))
def test_padding_changes_nothing(drawn: tuple, extra: int) -> None:
    ratio, pairs = drawn
    plain = FrameMatcher()(*batch(pairs, ratio), Context())
    assert same(plain, FrameMatcher()(*batch(pairs, ratio, extra, fill=1e9), Context()))


@settings(deadline=None, max_examples=40)
@given(utterances(), st.randoms(use_true_random=False))
def test_a_batch_in_another_order_gives_the_same_pairs(drawn: tuple, random: object) -> None:
    ratio, pairs = drawn
    student, teacher = batch(pairs, ratio)
    order = list(range(len(pairs)))
    random.shuffle(order)
    shuffled = FrameMatcher()(
        States(student.values[order], student.lengths[order], student.step_ms),
        States(teacher.values[order], teacher.lengths[order], teacher.step_ms),
        Context(),
    )
    plain = FrameMatcher()(student, teacher, Context())
    for new, old in enumerate(order):
        mine, theirs = shuffled.utterance == new, plain.utterance == old
        assert torch.equal(shuffled.student[mine], plain.student[theirs])
        assert torch.equal(shuffled.teacher[mine], plain.teacher[theirs])


def test_utterances_without_targets_give_no_pairs_and_no_complaint() -> None:
    pairs = FrameMatcher(tolerance=0)(*batch([(50, 0), (2, 4), (7, 0)], 2), Context())
    assert pairs.utterance.tolist() == [1, 1]
    none = FrameMatcher()(*batch([(50, 0)], 2), Context())
    assert none.student.shape == (0, 2)
    assert none.teacher.shape == (0, 6)


def test_a_batch_without_any_student_frame() -> None:
    pairs = FrameMatcher()(*batch([(0, 2), (0, 0)], 2), Context())
    assert pairs.utterance.numel() == 0


def test_gradients_reach_the_student() -> None:
    student, teacher = batch([(3, 6)], 2)
    student.values.requires_grad_()
    FrameMatcher()(student, teacher, Context()).student.sum().backward()
    assert torch.equal(student.values.grad, torch.ones(1, 3, 2))


def test_delay_lets_the_student_answer_later() -> None:
    student = States(torch.arange(5.0).reshape(1, 5, 1), torch.tensor([5]), 40.0)
    teacher = States(torch.arange(10.0).reshape(1, 10, 1), torch.tensor([10]), 20.0)
    pairs = FrameMatcher("average", delay=80.0)(student, teacher, Context())
    assert pairs.student.flatten().tolist() == [2.0, 3.0, 4.0]
    assert pairs.teacher.flatten().tolist() == [0.5, 2.5, 4.5]


def test_a_delay_longer_than_the_utterance_leaves_nothing() -> None:
    pairs = FrameMatcher(delay=400.0)(*batch([(3, 6), (4, 8)], 2), Context())
    assert pairs.utterance.numel() == 0


def test_large_differences_name_all_utterances() -> None:
    context = Context(utt_ids=["fits", "long", "short"])
    student, teacher = batch([(10, 20), (10, 40), (10, 4)], 2)
    with pytest.raises(ValueError) as caught:
        FrameMatcher()(student, teacher, context)
    message = str(caught.value)
    assert "long: 10 student frames, 20 from the teacher" in message
    assert "short: 10 student frames, 2 from the teacher" in message
    assert "fits" not in message


def test_of_many_differences_a_message_names_five() -> None:
    with pytest.raises(ValueError) as caught:
        FrameMatcher()(*batch([(5, 40)] * 24, 2), Context(utt_ids=[f"u{i}" for i in range(24)]))
    message = str(caught.value)
    assert "u4: " in message and "u5: " not in message
    assert "; and 19 more" in message


def test_large_differences_without_ids_give_the_number() -> None:
    with pytest.raises(ValueError, match="number 1 of the batch"):
        FrameMatcher()(*batch([(5, 10), (5, 40)], 2), Context())


@pytest.mark.parametrize(("difference", "accepted"), [(0, True), (2, True), (3, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_tolerance_is_inclusive(difference: int, accepted: bool, side: int) -> None:
    student, teacher = batch([(6, 2 * (6 + side * difference))], 2)
    matcher = FrameMatcher(tolerance=2)
    if accepted:
        assert len(matcher(student, teacher, Context()).utterance) == 6 + min(0, side * difference)
    else:
        with pytest.raises(ValueError, match="differ by more than 2 frames"):
            matcher(student, teacher, Context())


@pytest.mark.parametrize(
    ("student", "teacher", "ratio"), [(40, 20, 2), (60, 20, 3), (20, 20, 1), (80.0, 20, 4)]
)
def test_ratio_and_width(student: float, teacher: float, ratio: int) -> None:
    assert FrameMatcher().ratio(student, teacher) == ratio
    assert FrameMatcher("concat").paired_width(7, student, teacher) == 7 * ratio
    assert FrameMatcher("average").paired_width(7, student, teacher) == 7


@pytest.mark.parametrize(("student", "teacher"), [(30, 20), (10, 20), (50, 20), (41, 20)])
def test_rates_that_do_not_divide(student: float, teacher: float) -> None:
    with pytest.raises(ValueError, match=r"not a whole multiple.*reduction: resample"):
        FrameMatcher().ratio(student, teacher)


@pytest.mark.parametrize("steps", [(None, 20.0), (40.0, None), (None, None)])
def test_tokens_have_no_frames(steps: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="needs a frame rate on both sides"):
        FrameMatcher().ratio(*steps)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"reduction": "sum"}, "'sum'"),
        ({"delay": -1.0}, "delay"),
        ({"tolerance": -1}, "tolerance"),
        ({"interpolate": "linear"}, "interpolate belongs to reduction: resample, not to 'concat'"),
        ({"reduction": "resample", "interpolate": "cubic"}, "'cubic'"),
    ],
)
def test_bad_arguments(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        FrameMatcher(**arguments)


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_every_matcher_offers_what_distillers_need(name: str) -> None:
    matcher = MATCHERS[name]()
    assert callable(matcher)
    assert callable(matcher.paired_width)


def test_teacher_frames_are_grouped_in_order() -> None:
    teacher = States(torch.arange(8.0).reshape(1, 4, 2), torch.tensor([4]), 20.0)
    student = States(torch.zeros(1, 2, 1), torch.tensor([2]), 40.0)
    joined: Tensor = FrameMatcher()(student, teacher, Context()).teacher
    assert joined.tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
