"""Weight predictors: formulas, ranges, padding."""

import pytest
import torch
from torch import Tensor, nn

from distill_asr.models.cif.weights import (
    WEIGHT_PREDICTORS,
    ConvWeights,
    DenseWeights,
    LinearWeights,
)

each_predictor = pytest.mark.parametrize("name", sorted(WEIGHT_PREDICTORS))


def predictor(name: str, width: int = 4) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WEIGHT_PREDICTORS[name](width).double().eval()


def frames(batch: int, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 4, generator=generator, dtype=torch.float64)


def sigmoid(logits: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-logits))


@each_predictor
def test_padding_and_company_change_nothing(name: str) -> None:
    made, hidden, lengths = predictor(name), frames(3, 9), torch.tensor([9, 5, 1])
    hidden[1, 5:], hidden[2, 1:] = 1e6, -1e6
    found = made(hidden, lengths)
    longer = made(nn.functional.pad(hidden, (0, 0, 0, 4), value=7.0), lengths)
    torch.testing.assert_close(longer, nn.functional.pad(found, (0, 4)))
    for i, length in enumerate(lengths.tolist()):
        alone = made(hidden[i : i + 1, :length], lengths[i : i + 1])
        torch.testing.assert_close(found[i, :length], alone[0])
        assert not found[i, length:].any()
        assert bool(((alone > 0) & (alone < 1)).all())


@each_predictor
def test_every_parameter_learns(name: str) -> None:
    made = predictor(name)
    made(frames(2, 5), torch.tensor([5, 3])).sum().backward()
    assert all(bool(p.grad.any()) for p in made.parameters())


@each_predictor
def test_half_precision_gives_float32_weights(name: str) -> None:
    made = predictor(name).float()
    hidden = frames(1, 6).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(hidden, torch.tensor([6]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, made(hidden, torch.tensor([6])), atol=0.02, rtol=0.02)


@each_predictor
def test_starts_without_a_preference(name: str) -> None:
    biases = [p for n, p in predictor(name).named_parameters() if p.numel() == 1]
    assert len(biases) == 1 and not biases[0].any()


def test_convolution_and_projection_with_nothing_between() -> None:
    made, hidden = predictor("conv"), frames(1, 7)
    assert isinstance(made, ConvWeights)
    padded = nn.functional.pad(hidden, (0, 0, 1, 1))[0]
    expected = [
        sum(padded[t + k] @ made.conv.weight[:, :, k].T for k in range(3)) + made.conv.bias
        for t in range(7)
    ]
    logits = torch.stack(expected) @ made.project.weight[0] + made.project.bias
    torch.testing.assert_close(made(hidden, torch.tensor([7]))[0], sigmoid(logits))


def test_dense_and_linear_formulas() -> None:
    hidden, lengths = frames(1, 7), torch.tensor([7])
    dense = predictor("dense")
    assert isinstance(dense, DenseWeights)
    inner, last = dense.layers[0], dense.layers[-1]
    logits = (hidden[0] @ inner.weight.T + inner.bias).clamp(min=0) @ last.weight[0] + last.bias
    torch.testing.assert_close(dense(hidden, lengths)[0], sigmoid(logits))
    linear = predictor("linear")
    assert isinstance(linear, LinearWeights)
    logits = hidden[0] @ linear.project.weight[0] + linear.project.bias
    torch.testing.assert_close(linear(hidden, lengths)[0], sigmoid(logits))


def test_the_convolution_needs_a_middle() -> None:
    with pytest.raises(ValueError, match="odd, not 4"):
        ConvWeights(4, kernel_size=4)
