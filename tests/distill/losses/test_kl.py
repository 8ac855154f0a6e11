"""The divergence over tokens: its laws, its formula, the gradient of the published form."""

import pytest
import torch
from torch import Tensor

from distill_asr.distill.losses import KL


def sides(count: int = 6, tokens: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Student logits and teacher log-posteriors, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits, teacher = (
        torch.randn(count, tokens, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return logits, (2 * teacher).log_softmax(dim=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_zero_where_both_say_the_same_and_positive_elsewhere(temperature: float) -> None:
    logits, teacher = sides()
    loss = KL(temperature)
    assert loss(logits, teacher).shape == (6,)
    assert bool((loss(logits, teacher) > 0).all())
    torch.testing.assert_close(loss(teacher + 7.0, teacher), torch.zeros(6, dtype=torch.float64))


def test_formula() -> None:
    logits, teacher = sides()
    said, wanted = logits.softmax(1), teacher.exp()
    expected = (wanted * (wanted / said).log()).sum(1)
    torch.testing.assert_close(KL()(logits, teacher), expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradient_is_that_of_the_published_cross_entropy(temperature: float) -> None:
    logits, teacher = sides()
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    KL(temperature)(one, teacher).sum().backward()
    soft = (teacher / temperature).softmax(1)
    (-(soft * (other / temperature).log_softmax(1)).sum()).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_pairs_do_not_know_each_other_and_there_may_be_none() -> None:
    logits, teacher = sides()
    torch.testing.assert_close(KL()(logits[2:4], teacher[2:4]), KL()(logits, teacher)[2:4])
    assert KL()(logits[:0], teacher[:0]).shape == (0,)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_bad_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        KL(temperature)
