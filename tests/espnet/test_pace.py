"""The student knows before each step how much of its training is done."""

from collections.abc import Iterator

import pytest
from torch import nn

from distill_asr.espnet.pace import PacedBatches
from distill_asr.models.students.base import Student


class Small(Student, nn.Module):
    """A student without parts."""


def shares(model: nn.Module, student: Student, epoch: int, batches: object) -> list[float]:
    return [student.share_done for _ in PacedBatches(batches, model, epoch, epochs=2)]


def test_shares_go_by_epoch_and_step() -> None:
    student = Small()
    assert shares(student, student, 1, "abcd") == [0, 0.125, 0.25, 0.375]
    assert shares(student, student, 2, "abcd") == [0.5, 0.625, 0.75, 0.875]
    assert len(PacedBatches("abcd", student, 1, 2)) == 4


def test_a_continued_training_goes_on_at_its_epoch() -> None:
    fresh = Small()
    assert shares(fresh, fresh, 2, "ab") == [0.5, 0.75]


def test_the_student_inside_a_wrapper_learns_it() -> None:
    student = Small()
    wrapper = nn.Module()
    wrapper.module = student
    assert shares(wrapper, student, 2, "ab") == [0.5, 0.75]


def test_a_loader_of_unknown_length_moves_by_epochs() -> None:
    def loader() -> Iterator[str]:
        yield from "abc"

    student = Small()
    batches = loader()
    with pytest.raises(TypeError):
        len(PacedBatches(batches, student, 1, 2))
    assert shares(student, student, 2, batches) == [0.5, 0.5, 0.5]


def test_a_model_that_is_no_student_is_let_be() -> None:
    model = nn.Linear(1, 1)
    assert list(PacedBatches("ab", model, 1, 2)) == ["a", "b"]
    assert not hasattr(model, "share_done")
