"""Layers of a teacher that targets keep apart: chosen, or mixed by fixed or learnt weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.block import DistillBlock, by_tap
from distill_asr.distill.build import build_distillers
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.layers import LayerMixture
from distill_asr.distill.states import Context, States, TapShape
from distill_asr.errors import UserError

HELD = (3, 6, 9)
WIDTH = 2  # of one layer
BLOCK = DistillBlock("w", "encoder", "mse")


def built(block: DistillBlock = BLOCK, held: tuple[int, ...] = HELD, **facts: object) -> Distiller:
    facts = TeacherFacts(WIDTH * max(1, len(held)), 40.0, layers=held, **facts)
    torch.manual_seed(0)
    return build_distillers({"x": block}, {"encoder": TapShape(4, 40.0)}, {"w": facts})["x"]


def term(distiller: Distiller, targets: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)  # of negatives
    generator = torch.Generator().manual_seed(1)
    heard = States(torch.randn(2, 5, 4, generator=generator), torch.tensor([5, 3]), 40.0)
    return distiller(heard, targets, torch.tensor([5, 3]), Context())


def stacked(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 5, WIDTH * 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("loss", ["mse", "l1", "cosine", "contrastive"])
def test_one_layer_of_a_stack_is_that_layer_dumped_alone(place: int, loss: str) -> None:
    targets = stacked()
    apart = targets.unflatten(-1, (3, WIDTH))[..., place, :]
    chosen = built(replace(BLOCK, loss=loss, layers=[HELD[place]]))
    alone = built(replace(BLOCK, loss=loss), held=())
    assert torch.equal(term(chosen, targets), term(alone, apart))


def test_without_layers_they_stay_side_by_side() -> None:
    distiller = built()
    assert distiller.mixture is None and distiller.head.out_features == 3 * WIDTH


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.1, 9), min_size=3, max_size=3), st.floats(0.1, 50))
def test_a_mixture_is_the_weighted_mean(weights: list[float], scale: float) -> None:
    values = stacked().double()
    mixed = LayerMixture(HELD, dict(zip(HELD, weights, strict=True)))(values)
    wanted = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    by_hand = (values.unflatten(-1, (3, WIDTH)) * wanted[:, None]).sum(-2)
    torch.testing.assert_close(mixed, by_hand, rtol=1e-5, atol=1e-5)
    scaled = LayerMixture(HELD, {layer: w * scale for layer, w in zip(HELD, weights, strict=True)})
    torch.testing.assert_close(scaled(values), mixed, rtol=1e-5, atol=1e-5)


def test_equal_layers_mix_to_themselves_and_the_order_of_weights_does_not_matter() -> None:
    one = torch.randn(4, WIDTH)
    mixed = LayerMixture(HELD, {9: 2.0, 3: 5.0})(one.repeat(1, 3))
    torch.testing.assert_close(mixed, one)
    values = stacked()
    torch.testing.assert_close(
        LayerMixture(HELD, {9: 2.0, 3: 5.0})(values), LayerMixture(HELD, {3: 5.0, 9: 2.0})(values)
    )


def test_layers_are_standardised_before_they_are_mixed() -> None:
    mean, std = torch.arange(6.0), torch.arange(1.0, 7.0)
    block = replace(BLOCK, layers=[3, 9])
    raw = stacked()
    given_raw = term(built(block, mean=mean, std=std), raw * std + mean)
    torch.testing.assert_close(given_raw, term(built(block), raw))


def test_learnt_weights_begin_as_given_are_trained_and_are_in_no_plain_mixture() -> None:
    learnt = built(replace(BLOCK, layers={3: 1, 9: 3}, learn_layers=True))
    fixed = built(replace(BLOCK, layers={3: 1, 9: 3}))
    targets = stacked()
    torch.testing.assert_close(term(learnt, targets), term(fixed, targets))
    assert learnt.shares == pytest.approx({"layer3": 0.25, "layer9": 0.75})
    assert fixed.shares == {}
    assert set(learnt.state_dict()) - set(fixed.state_dict()) == {"mixture.logits"}
    term(learnt, targets).backward()
    before = learnt.mixture.weights.clone()
    with torch.no_grad():
        learnt.mixture.logits -= 10 * learnt.mixture.logits.grad
    assert not torch.allclose(learnt.mixture.weights, before)
    assert float(learnt.mixture.weights.detach().sum()) == pytest.approx(1)


def test_learnt_without_names_are_all_that_the_targets_hold() -> None:
    mixture = built(replace(BLOCK, learn_layers=True)).mixture
    assert mixture.layers == HELD
    torch.testing.assert_close(mixture.weights, torch.full((3,), 1 / 3))


def test_a_batch_without_targets_still_has_a_way_to_the_weights() -> None:
    learnt = built(replace(BLOCK, learn_layers=True))
    heard = States(torch.randn(1, 4, 4), torch.tensor([4]), 40.0)
    learnt(heard, torch.zeros(1, 4, 6), torch.tensor([0]), Context()).backward()
    assert learnt.mixture.logits.grad is not None


def test_layers_that_are_not_there() -> None:
    with pytest.raises(UserError, match=r"distill.x: layers: \[4\] requested, .*\[3, 6, 9\]"):
        built(replace(BLOCK, layers=[4, 6]))


def test_a_block_of_several_taps_is_one_a_tap_with_its_part_of_the_weight() -> None:
    block = {"teacher": "w", "tap": ["encoder:2", "encoder"], "loss": "l1", "weight": 3}
    one = {"teacher": "w", "tap": "encoder"}
    assert by_tap({"x": block, "y": one, "pick": "random", "off": None}) == {
        "x@encoder:2": block | {"tap": "encoder:2", "weight": 1.5},
        "x@encoder": block | {"tap": "encoder", "weight": 1.5},
        "y": one,
        "pick": "random",
        "off": None,
    }
    faded = by_tap({"x": block | {"weight": {"value": 3, "until": 0.5}}})
    assert faded["x@encoder"]["weight"] == {"value": 1.5, "until": 0.5}
