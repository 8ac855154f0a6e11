"""Schedules of a block's weight: laws, and mistakes in them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.schedule import Schedule, weight_problems

shares = st.floats(0, 1)


@given(shares, st.floats(-100, 100))
def test_a_number_is_constant(share: float, value: float) -> None:
    schedule = DistillBlock("t", "encoder", "mse", weight=value).schedule
    assert schedule.at(share) == value and not schedule.moves


@given(shares, shares, st.sampled_from(["linear", "cosine"]), shares)
def test_it_fades_from_the_whole_to_nothing(a: float, b: float, shape: str, share: float) -> None:
    fades, until = sorted((a, b))
    if fades == until:
        return
    weight = {"value": 30.0, "shape": shape, "fade_from": fades, "until": until}
    assert weight_problems("w", weight) == []
    schedule = Schedule.of(weight)
    assert schedule.moves and schedule.at(until) == 0.0
    assert 0 <= schedule.at(share) <= 30.0
    if share <= fades:
        assert schedule.at(share) == 30.0
    if share >= until:
        assert schedule.at(share) == 0.0
    later = min(1.0, share + 0.01)
    assert schedule.at(later) <= schedule.at(share) + 1e-9, "it only falls"
    middle = fades + (until - fades) / 2
    assert schedule.at(middle) == pytest.approx(15.0), "both shapes are symmetric"


def test_the_published_half_and_half() -> None:
    schedule = Schedule.of({"value": 30, "fade_from": 0.5})
    assert [schedule.at(s) for s in (0, 0.5, 0.75, 1)] == [30, 30, 15, 0]
    cosine = Schedule.of({"value": 30, "fade_from": 0.5, "shape": "cosine"})
    assert cosine.at(0.6) > schedule.at(0.6) and cosine.at(0.9) < schedule.at(0.9)


def test_between_two_shares() -> None:
    schedule = Schedule.of({"value": 2.0, "from": 0.1, "until": 0.8})
    assert [schedule.at(s) for s in (0, 0.0999, 0.1, 0.79, 0.8, 1)] == [0, 0, 2, 2, 0, 0]
    falling = Schedule.of({"value": 2.0, "from": 0.5, "shape": "linear"})
    assert [falling.at(s) for s in (0.4, 0.5, 0.75)] == [0, 2, 1]


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ({"fade_from": 0.5}, "w.value: missing"),
        ({"value": 1, "fadefrom": 0.5}, "w.fadefrom: no such key; did you mean 'fade_from'?"),
        ({"value": "1"}, "w.value: expected a number, found '1'"),
        ({"value": True}, "w.value: expected a number, found True"),
        ({"value": 1, "until": 50}, "w.until: 50, expected a share of the training, 0 to 1"),
        ({"value": 1, "shape": "linaer"}, "w.shape: 'linaer'; did you mean 'linear'?"),
        ({"value": 1, "shape": "constant", "fade_from": 0.5}, "w.shape: constant does not fade"),
        ({"value": 1, "fade_from": 0.9, "until": 0.5}, "fade_from 0.9, until 0.5: expected them"),
    ],
)
def test_mistakes(weight: dict[str, Any], said: str) -> None:
    problems = weight_problems("w", weight)
    assert len(problems) == 1 and said in problems[0]


def test_all_mistakes_at_once() -> None:
    problems = weight_problems("w", {"form": 0, "from": "x", "shape": "square"})
    assert len(problems) == 4
