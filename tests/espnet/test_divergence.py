"""A training that comes apart is noticed, by its losses or its gradients."""

from __future__ import annotations

import math

import pytest
from espnet2.train.reporter import Reporter

from distill_asr.errors import UserError
from distill_asr.espnet.divergence import BAD_STEPS, WatchedBatches, require_finite_validation


def epoch(steps: list[tuple[float, float | None]], between: int = 1) -> WatchedBatches:
    """Run batches of these losses, and norms of gradients where there are some, as ESPnet does."""
    reporter = Reporter()
    reporter.set_epoch(3)
    with reporter.observe("train") as observed:
        batches = [([f"utt{i}"], {}) for i in range(len(steps))]
        watched = WatchedBatches(batches, observed, between)
        for (loss, norm), _ in zip(steps, observed.measure_iter_time(watched, "i"), strict=False):
            observed.register({"loss": loss}, 1.0)
            if norm is not None:
                observed.register({"grad_norm": norm})
            observed.next()
        # the step after the last batch is looked at when the next one is asked for
    return watched


GOOD, NAN, BAD_GRADIENT = (1.0, 1.0), (math.nan, None), (1.0, None)


@pytest.mark.parametrize("bad", [NAN, (math.inf, 1.0), BAD_GRADIENT])
def test_too_many_bad_steps_in_a_row(bad: tuple) -> None:
    steps = [GOOD, *[bad] * BAD_STEPS, GOOD]
    with pytest.raises(UserError) as caught:
        epoch(steps)
    (problem,) = caught.value.problems
    assert "diverged in epoch 3" in problem and f"in {BAD_STEPS} steps in a row" in problem
    assert f"utt{BAD_STEPS}" in problem, "the last of them"
    assert "the weights of epoch 2 are kept" in problem and "optim_conf.lr" in problem


def test_a_few_bad_steps_are_no_divergence() -> None:
    epoch([GOOD, *[NAN] * (BAD_STEPS - 1), GOOD, *[BAD_GRADIENT] * (BAD_STEPS - 1), GOOD])
    assert len(WatchedBatches([1, 2], None)) == 2
    with pytest.raises(TypeError):
        len(WatchedBatches(iter([]), None))


def test_gradients_that_are_summed_over_batches() -> None:
    epoch([(1.0, None), (1.0, 1.0)] * BAD_STEPS, between=2)


def validated(losses: list[float]) -> None:
    reporter = Reporter()
    reporter.set_epoch(1)
    with reporter.observe("valid") as observed:
        for loss in losses:
            observed.register({"loss": loss}, 1.0)
            observed.next()
        require_finite_validation(observed, ["a", "b"])


def test_no_finite_validation_loss() -> None:
    validated([math.nan, 1.0])
    with pytest.raises(UserError, match="no validation loss is a finite number") as caught:
        validated([math.nan, math.inf])
    assert "utterances a, b; no epoch was finished" in str(caught.value)
