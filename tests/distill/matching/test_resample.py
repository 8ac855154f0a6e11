"""Laws of frame matching between rates that do not divide each other."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.distill.contracts import CODES, VECTORS
from distill_asr.distill.matching.frame import FrameMatcher
from distill_asr.distill.states import Context, Pairs, States

STEPS = (10.0, 20.0, 24.0, 1000 / 41.5, 30.0, 40.0, 60.0, 80.0)  # Moonshine 24, Parakeet 80
STUDENTS = st.sampled_from((20.0, 40.0, 60.0))
TEACHERS = st.sampled_from(STEPS)
HOW = st.sampled_from(("linear", "nearest"))
WIDTH = 3


def frames_of(duration_ms: float, step_ms: float) -> int:
    return int(Fraction(duration_ms) / Fraction(step_ms).limit_denominator(10_000))


def sides(
    durations: list[float], student_ms: float, teacher_ms: float, extra: int = 0, fill: float = 0.0
) -> tuple[States, States]:
    """Both sides of audio that lasts so many ms; utterances differ, and their frames."""
    found = []
    for step_ms, width in ((student_ms, 2), (teacher_ms, WIDTH)):
        lengths = torch.tensor([frames_of(duration, step_ms) for duration in durations])
        values = torch.full((len(durations), int(lengths.max()) + extra, width), fill)
        for i, length in enumerate(lengths.tolist()):
            generator = torch.Generator().manual_seed(i)
            values[i, :length] = torch.randn(length, width, generator=generator)
        found.append(States(values, lengths, step_ms))
    return found[0], found[1]


def resample(how: str = "linear", **conf: float) -> FrameMatcher:
    return FrameMatcher("resample", interpolate=how, **conf)


def matched(how: str, student: States, teacher: States, **conf: float) -> Pairs:
    return resample(how, **conf)(student, teacher, Context())


def replaced(states: States, values: Tensor) -> States:
    return States(values, states.lengths, states.step_ms)


DURATIONS = st.lists(st.integers(0, 1500).map(float), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(DURATIONS, STUDENTS, TEACHERS, HOW)
def test_constant_stays_constant_and_every_frame_within_the_teachers_time_is_paired(
    durations: list[float], student_ms: float, teacher_ms: float, how: str
) -> None:
    student, teacher = sides(durations, student_ms, teacher_ms)
    constant = torch.full_like(teacher.values, 0.3)
    pairs = matched(how, student, replaced(teacher, constant))
    assert torch.equal(pairs.teacher, torch.full_like(pairs.teacher, 0.3))
    for i, (frames, positions) in enumerate(
        zip(student.lengths.tolist(), teacher.lengths.tolist(), strict=True)
    ):
        ends = positions * Fraction(teacher_ms).limit_denominator(10_000)
        inside = [t for t in range(frames) if (t + Fraction(1, 2)) * Fraction(student_ms) < ends]
        assert int((pairs.utterance == i).sum()) == len(inside)


@settings(deadline=None, max_examples=20)
@given(DURATIONS, st.sampled_from(STEPS), HOW)
def test_equal_rates_are_the_identity(durations: list[float], step_ms: float, how: str) -> None:
    student, teacher = sides(durations, step_ms, step_ms)
    pairs, plain = matched(how, student, teacher), FrameMatcher()(student, teacher, Context())
    for mine, theirs in zip(vars(pairs).values(), vars(plain).values(), strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, Tensor) else mine == theirs


@settings(deadline=None, max_examples=60)
@given(DURATIONS, STUDENTS, TEACHERS)
def test_linear_reproduces_a_ramp_between_the_middles_of_the_teachers_ends(
    durations: list[float], student_ms: float, teacher_ms: float
) -> None:
    student, teacher = sides(durations, student_ms, teacher_ms)
    steps = (torch.arange(teacher.values.size(1)) + 0.5) * teacher_ms
    ramp = steps[:, None].expand(len(durations), -1, WIDTH)
    pairs = matched("linear", student, replaced(teacher, ramp))
    for i, positions in enumerate(teacher.lengths.tolist()):
        found = pairs.teacher[pairs.utterance == i, 0]
        times = (torch.arange(len(found)) + 0.5) * student_ms
        ends = (0.5 * teacher_ms, (positions - 0.5) * teacher_ms)
        torch.testing.assert_close(found, times.clamp(*ends))


@settings(deadline=None, max_examples=20)
@given(DURATIONS, st.sampled_from((10.0, 20.0, 30.0)))
def test_at_half_the_rate_linear_is_the_average(durations: list[float], teacher_ms: float) -> None:
    student, teacher = sides(durations, 2 * teacher_ms, teacher_ms)
    pairs = matched("linear", student, teacher)
    average = FrameMatcher("average")(student, teacher, Context())
    assert torch.equal(pairs.utterance, average.utterance)
    torch.testing.assert_close(pairs.teacher, average.teacher)


@settings(deadline=None, max_examples=60)
@given(DURATIONS, STUDENTS, TEACHERS)
def test_nearest_takes_the_frame_that_covers_the_middle(
    durations: list[float], student_ms: float, teacher_ms: float
) -> None:
    student, teacher = sides(durations, student_ms, teacher_ms)
    numbers = torch.arange(teacher.values.size(1))[None, :, None].expand_as(teacher.values)
    pairs = matched("nearest", student, replaced(teacher, numbers))
    assert pairs.teacher.dtype == torch.int64  # codes stay what they are
    exact = Fraction(teacher_ms).limit_denominator(10_000)
    for i in range(len(durations)):
        found = pairs.teacher[pairs.utterance == i, 0].tolist()
        wanted = [
            int((t + Fraction(1, 2)) * Fraction(student_ms) / exact) for t in range(len(found))
        ]
        assert found == wanted


@settings(deadline=None, max_examples=40)
@given(DURATIONS, STUDENTS, TEACHERS, HOW, st.integers(1, 5), st.integers(0, 3))
def test_padding_changes_nothing_and_alone_is_as_in_a_batch(
    durations: list[float], student_ms: float, teacher_ms: float, how: str, extra: int, lag: int
) -> None:
    delay = lag * student_ms
    plain = matched(how, *sides(durations, student_ms, teacher_ms), delay=delay)
    padded = sides(durations, student_ms, teacher_ms, extra, float("nan"))
    assert torch.equal(matched(how, *padded, delay=delay).teacher, plain.teacher)
    for i in range(len(durations)):
        alone = [
            States(side.values[i : i + 1, : side.lengths[i]], side.lengths[i : i + 1], side.step_ms)
            for side in padded
        ]
        pairs = matched(how, *alone, delay=delay)
        assert torch.equal(pairs.student, plain.student[plain.utterance == i])
        assert torch.equal(pairs.teacher, plain.teacher[plain.utterance == i])


@settings(deadline=None, max_examples=40)
@given(STUDENTS, TEACHERS, HOW, st.integers(0, 4))
def test_delay_shifts_the_students_side_alone(
    student_ms: float, teacher_ms: float, how: str, lag: int
) -> None:
    student, teacher = sides([1200.0], student_ms, teacher_ms)
    plain = matched(how, student, teacher)
    late = matched(how, student, teacher, delay=lag * student_ms)
    count = len(late.utterance)
    assert torch.equal(late.teacher, plain.teacher[:count])
    assert torch.equal(late.student, student.values[0, lag : lag + count])
    assert count == min(len(plain.utterance), int(student.lengths[0]) - lag)


def test_a_difference_of_three_frames_of_the_slower_side_is_cut() -> None:
    student = States(torch.zeros(1, 50, 1), torch.tensor([50]), 40.0)
    teacher = States(torch.zeros(1, 22, 1), torch.tensor([22]), 80.0)
    assert len(matched("linear", student, teacher).utterance) == 44
    short = States(torch.zeros(1, 21, 1), torch.tensor([21]), 80.0)
    with pytest.raises(ValueError, match=r"more than 6 frames.*50 student frames, 42"):
        matched("linear", student, short)


def test_gradients_reach_a_teacher_that_is_a_mixture() -> None:
    student, teacher = sides([400.0], 40.0, 24.0)
    teacher.values.requires_grad_()
    matched("linear", student, teacher).teacher.sum().backward()
    assert float(teacher.values.grad.sum()) == pytest.approx(WIDTH * int(student.lengths[0]))


def test_codes_have_no_line_between_them() -> None:
    assert resample("linear").takes == (VECTORS,)
    assert resample("nearest").takes == (VECTORS, CODES)


def test_width_is_the_teachers_and_tokens_have_no_rate() -> None:
    assert resample().paired_width(7, 40.0, 24.0) == 7
    with pytest.raises(ValueError, match="needs a frame rate on both sides"):
        resample().paired_width(7, 40.0, None)
