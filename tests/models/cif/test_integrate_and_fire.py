"""Integrate-and-fire against a plain loop over frames, and its laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.models.cif import CifOutput, integrate_and_fire

GRAIN = 64  # weights are whole multiples of 1/64, so that sums are exact and fires no accident


def by_hand(
    alpha: list[float], target: int | None, threshold: float = 0.99, tail: float = 0.5
) -> tuple[list[list[float]], list[int]]:
    """Coefficients of the frames in each token, and the frame in which each ends."""
    if target is not None:
        scale = target / (sum(alpha) + 1e-8)
        alpha = [scale * weight for weight in alpha]
    tokens, ends, carried, token = [], [], 0.0, [0.0] * len(alpha)
    for frame, weight in enumerate(alpha):
        if carried + weight >= threshold:
            token[frame] = 1.0 - carried
            tokens.append(token)
            ends.append(frame)
            carried = weight - token[frame]
            token = [0.0] * len(alpha)
            token[frame] = carried
        else:
            token[frame] = weight
            carried += weight
    if target is None and carried > tail:
        tokens.append([share / (carried + 1e-10) for share in token])
        ends.append(len(alpha) - 1)
    return tokens, ends


def batch(
    alphas: list[list[float]], extra: int = 0, fill: float = 0.0, width: int = 3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random frames [B, T, D], weights [B, T] and lengths, padded by ``extra`` more."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([len(alpha) for alpha in alphas])
    frames = max(map(len, alphas)) + extra
    hidden = torch.full((len(alphas), frames, width), fill, dtype=torch.float64)
    weights = torch.full((len(alphas), frames), fill, dtype=torch.float64)
    for i, alpha in enumerate(alphas):
        weights[i, : len(alpha)] = torch.tensor(alpha, dtype=torch.float64)
        hidden[i, : len(alpha)] = torch.randn(
            len(alpha), width, generator=generator, dtype=torch.float64
        )
    return hidden, weights, lengths


def coefficients(alphas: list[list[float]], targets: list[int] | None = None) -> CifOutput:
    """Tokens whose vectors are the frames' coefficients."""
    _, weights, lengths = batch(alphas)
    hidden = torch.eye(weights.size(1), dtype=torch.float64).expand(len(alphas), -1, -1)
    return integrate_and_fire(
        hidden, weights, lengths, None if targets is None else torch.tensor(targets)
    )


def close(found: Tensor, expected: list) -> None:
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=found.dtype), atol=1e-10, rtol=1e-9
    )


weights = st.lists(st.integers(0, GRAIN).map(lambda count: count / GRAIN), max_size=30)
bursts = st.lists(st.sampled_from([0.0, 1 / GRAIN, 0.125, 3.0, 5.5]), max_size=30)
utterances = st.lists(
    st.tuples(st.one_of(weights, bursts), st.integers(0, 12)), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=300)
@given(utterances, st.booleans(), st.integers(0, 2))
def test_equals_the_loop_whatever_the_padding_and_the_company(
    drawn: list[tuple[list[float], int]], training: bool, extra: int
) -> None:
    alphas, targets = [list(column) for column in zip(*drawn, strict=True)]
    hidden, alpha, lengths = batch(alphas, extra, fill=float("nan"))
    found = integrate_and_fire(hidden, alpha, lengths, torch.tensor(targets) if training else None)
    dense, frames = found.weights, found.frames
    assert found.states.size(1) == int(found.lengths.max()) == dense.size(1)
    for i, (weight, target) in enumerate(drawn):
        tokens, ends = by_hand(weight, target if training else None)
        count = len(tokens)
        assert int(found.lengths[i]) == count
        assert frames[i, :count].tolist() == ends
        assert found.quantity[i].item() == pytest.approx(sum(weight))
        if count:
            close(dense[i, :count, : len(weight)], tokens)
            expected = dense[i, :count, : len(weight)] @ hidden[i, : len(weight)]
            torch.testing.assert_close(found.states[i, :count], expected)
        for padded in (found.states[i, count:], dense[i, count:], dense[i, :, len(weight) :]):
            assert not padded.any()
        assert not frames[i, count:].any()


@settings(deadline=None, max_examples=100)
@given(utterances, st.booleans())
def test_the_shares_of_a_token_sum_up_to_one(
    drawn: list[tuple[list[float], int]], training: bool
) -> None:
    alphas, targets = [list(column) for column in zip(*drawn, strict=True)]
    found = integrate_and_fire(*batch(alphas), torch.tensor(targets) if training else None)
    total = found.weights.sum(dim=2)
    expected = torch.arange(total.size(1)) < found.lengths.unsqueeze(1)
    torch.testing.assert_close(total, expected.double(), atol=1e-6, rtol=0)


# -- figures of the published code (arXiv 2301.13003) ---------------------------------


def test_a_token_fires_at_099_and_counts_as_1() -> None:
    found = coefficients([[0.5, 0.495, 0.3, 0.6, 0.5, 0.1]])
    close(found.states, [[[0.5, 0.5, 0, 0, 0, 0], [0, -0.005, 0.3, 0.6, 0.105, 0]]])
    close(found.quantity, [2.495])
    assert found.frames.tolist() == [[1, 4]]


def test_scaling_to_the_transcript() -> None:
    found = coefficients([[0.4, 0.4, 0.2, 0.4, 0.4, 0.2]], [3])
    e = 1e-8
    close(
        found.states,
        [
            [
                [0.6 - 0.3 * e, 0.4 + 0.3 * e, 0, 0, 0, 0],
                [0, 0.2 - 0.6 * e, 0.3 - 0.15 * e, 0.5 + 0.75 * e, 0, 0],
                [0, 0, 0, 0.1 - 1.05 * e, 0.6 - 0.3 * e, 0.3 + 1.35 * e],
            ]
        ],
    )
    close(found.quantity, [2.0])


def test_one_fire_a_frame_even_where_a_frame_has_weight_for_several() -> None:
    found = coefficients([[0.1, 0.1, 0.8, 0.1, 0.1, 0.1]], [4])
    assert found.frames.tolist() == [[2, 3, 4, 5]]
    expected = [
        [4 / 13, 4 / 13, 5 / 13, 0, 0, 0],
        [0, 0, 27 / 13, -14 / 13, 0, 0],
        [0, 0, 0, 18 / 13, -5 / 13, 0],
        [0, 0, 0, 0, 9 / 13, 4 / 13],
    ]
    torch.testing.assert_close(
        found.states, torch.tensor([expected], dtype=torch.float64), atol=1e-7, rtol=0
    )


def test_a_tail_is_brought_to_weight_one() -> None:
    found = coefficients([[0.4, 0.7, 0.3, 0.3, 0.2], [0.4, 0.7, 0.2, 0.1, 0.1]])
    ninth = 1 / 9
    torch.testing.assert_close(
        found.states[0],
        torch.tensor([[0.4, 0.6, 0, 0, 0], [0, ninth, 3 * ninth, 3 * ninth, 2 * ninth]]).double(),
        atol=1e-7,
        rtol=0,
    )
    assert found.lengths.tolist() == [2, 1]


# -- three intended differences from the published code -------------------------------


def test_every_utterance_has_its_tail_padded_or_not() -> None:
    """Published: the longest utterance of a batch, and one alone, lose theirs."""
    alpha = [0.4, 0.7, 0.3, 0.3, 0.2]
    alone = coefficients([alpha])
    with_others = coefficients([alpha, [0.4, 0.7, 0.3, 0.3, 0.5, 0.5]])
    assert alone.lengths.tolist() == [2]
    assert with_others.lengths.tolist() == [2, 3]
    torch.testing.assert_close(with_others.states[0, :2, :5], alone.states[0])


def test_padding_never_fires_and_never_enters_a_token() -> None:
    """Published: a weight too late to be fired in time is fired on the first padded frame."""
    alphas = [[0.05, 0.05, 0.9], [0.4, 0.4, 0.4, 0.4]]
    found = coefficients(alphas, [4, 2])
    assert found.lengths.tolist() == [1, 2]
    torch.testing.assert_close(
        found.states[0],
        torch.tensor([[0.2, 0.2, 0.6, 0], [0, 0, 0, 0]]).double(),
        atol=1e-7,
        rtol=0,
    )


def test_where_nothing_fires_there_is_no_token() -> None:
    """Published: a zero vector, marked as valid."""
    found = coefficients([[0.1, 0.1, 0.1], [0.5, 0.5, 0.25]])
    assert found.lengths.tolist() == [0, 1]
    assert not found.states[0].any()
    nothing = coefficients([[0.1, 0.1, 0.1], [0.2]])
    assert nothing.lengths.tolist() == [0, 0]
    assert nothing.states.shape == (2, 0, 3)
    assert nothing.weights.shape == (2, 0, 3)
    assert nothing.frames.shape == (2, 0)
    close(nothing.quantity, [0.3, 0.2])


# -- gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_gradients(training: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(3, 12, 4, generator=generator, dtype=torch.float64).requires_grad_()
    logits = torch.randn(3, 12, generator=generator, dtype=torch.float64).requires_grad_()
    lengths = torch.tensor([12, 7, 1])
    targets = torch.tensor([4, 3, 2]) if training else None

    def run(frames: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        found = integrate_and_fire(frames, torch.sigmoid(weights), lengths, targets)
        return found.states, found.quantity, found.weights

    assert torch.autograd.gradcheck(run, (hidden, logits))


def test_gradients_do_not_reach_the_padding_and_survive_what_it_holds() -> None:
    hidden, alpha, lengths = batch([[0.5] * 6, [0.5] * 3], extra=2, fill=float("nan"))
    hidden.requires_grad_()
    alpha.requires_grad_()
    integrate_and_fire(hidden, alpha, lengths).states.square().sum().backward()
    for grad in (hidden.grad, alpha.grad):
        assert bool(torch.isfinite(grad).all())
        assert not grad[0, 6:].any() and not grad[1, 3:].any()
    assert bool(alpha.grad[0, :6].any()) and bool(alpha.grad[1, :3].any())


@pytest.mark.parametrize("targets", [None, [0, 0]])
def test_a_batch_in_which_nothing_fires_has_a_gradient_path(targets: list[int] | None) -> None:
    hidden, alpha, lengths = batch([[0.1] * 4, [0.0] * 2])
    hidden.requires_grad_()
    alpha.requires_grad_()
    found = integrate_and_fire(
        hidden, alpha, lengths, None if targets is None else torch.tensor(targets)
    )
    (found.states.sum() + found.quantity.sum()).backward()
    assert not hidden.grad.any()
    assert torch.equal(alpha.grad, torch.tensor([[1.0] * 4, [1.0, 1.0, 0, 0]]).double())


# -- sizes and precisions ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("frames", [1, 50, 400])
def test_in_training_the_fires_are_the_target(frames: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(frames)
    alpha = torch.sigmoid(torch.randn(64, frames, generator=generator)).to(dtype)
    hidden = torch.randn(64, frames, 4, generator=generator).to(dtype)
    lengths = torch.randint(1, frames + 1, (64,), generator=generator)
    targets = (lengths / 4).ceil().long()
    found = integrate_and_fire(hidden, alpha, lengths, targets)
    assert torch.equal(found.lengths, targets)
    assert found.states.dtype == dtype
    assert found.quantity.dtype == torch.float32


def test_half_precision_is_summed_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(1, 300, generator=generator) / 20
    hidden = torch.randn(1, 300, 8, generator=generator).half()
    half = integrate_and_fire(hidden, alpha, torch.tensor([300]))
    full = integrate_and_fire(hidden.double(), alpha, torch.tensor([300]))
    assert torch.equal(half.states, full.states.half())


def test_more_tokens_than_frames() -> None:
    found = coefficients([[0.5, 0.5, 0.5]], [7])
    assert found.lengths.tolist() == [3]
    assert bool(torch.isfinite(found.states).all())


def test_no_frames_and_no_utterances() -> None:
    for count, frames in ((2, 0), (0, 5), (0, 0)):
        found = integrate_and_fire(
            torch.zeros(count, frames, 3), torch.zeros(count, frames), torch.zeros(count).long()
        )
        assert found.states.shape == (count, 0, 3)
        assert found.lengths.tolist() == [0] * count
        assert found.weights.shape == (count, 0, frames)


def test_an_hour_in_little_memory() -> None:
    frames, tokens = 45000, 15000  # of 80 ms; the weights alone would be 2.7 GB
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, frames, 2, generator=generator).requires_grad_()
    alpha = torch.rand(1, frames, generator=generator).requires_grad_()
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        found = integrate_and_fire(hidden, alpha, torch.tensor([frames]), torch.tensor([tokens]))
    found.states.sum().backward()
    assert found.lengths.tolist() == [tokens]
    assert max(kept) <= 4 * frames
    # the sum of all states is the sum of weighted frames, up to the last one's remainder
    scaled = alpha.detach() * tokens / alpha.detach().sum()
    expected = (scaled.unsqueeze(-1).double() * hidden.detach()).sum(dim=1)
    torch.testing.assert_close(found.states.double().sum(dim=1), expected, rtol=1e-3, atol=0.05)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(2, 5, 3\).*\(2, 4\)"):
        integrate_and_fire(torch.zeros(2, 5, 3), torch.zeros(2, 4), torch.tensor([4, 4]))
