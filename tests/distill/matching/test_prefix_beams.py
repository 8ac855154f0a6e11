"""CTC prefix beam search against all paths of small lattices."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.prefix_beams import Hypotheses, path_scores, prefix_beams

SHAPES = st.tuples(st.integers(1, 4), st.integers(2, 4), st.integers(0, 10_000))


def lattice(frames: int, tokens: int, seed: int) -> torch.Tensor:
    """Log-probabilities [T, V]."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, tokens, generator=generator)).double().log_softmax(dim=-1)


def all_sequences(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every token sequence, summed over its paths."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(log_probs.size(1)), repeat=len(log_probs)):
        probability = float(sum(log_probs[t, token] for t, token in enumerate(path)).exp())
        found[tuple(token for token, _ in groupby(path) if token)] += probability
    return dict(found)


@settings(deadline=None, max_examples=25)
@given(SHAPES)
def test_a_wide_beam_finds_the_likeliest_sequences_in_order(shape) -> None:
    log_probs = lattice(*shape)
    known = sorted(all_sequences(log_probs).items(), key=lambda item: -item[1])
    count = min(3, len(known))
    beam = 130  # more than there are prefixes
    found = prefix_beams(log_probs[None], torch.tensor([len(log_probs)]), count, beam)
    assert [tuple(row) for row in found.tokens] == [sequence for sequence, _ in known[:count]]
    scores = path_scores(log_probs[None], torch.tensor([len(log_probs)]), found)
    expected = torch.tensor([probability for _, probability in known[:count]])
    torch.testing.assert_close(scores.exp().float(), expected, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.lists(SHAPES, min_size=1, max_size=3), st.integers(0, 2), st.integers(1, 4))
def test_the_same_alone_padded_and_in_a_batch(shapes, extra: int, beam: int) -> None:
    rows = [lattice(frames, 4, seed) for frames, _, seed in shapes]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.full((len(rows), int(lengths.max()) + extra, 4), 7.0)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    together = prefix_beams(padded, lengths, 1, beam)
    alone = [prefix_beams(row[None], torch.tensor([len(row)]), 1, beam).tokens for row in rows]
    assert together.tokens == [tokens for found in alone for tokens in found]
    assert together.utterance.tolist() == list(range(len(rows)))


def test_a_token_is_repeated_only_after_a_blank() -> None:
    certain = torch.full((5, 3), -30.0)
    certain[range(5), [1, 1, 0, 1, 2]] = 0.0
    found = prefix_beams(certain.log_softmax(-1)[None], torch.tensor([5]), 1, 4)
    assert found.tokens == [[1, 1, 2]]


def test_without_frames_there_is_no_hypothesis() -> None:
    found = prefix_beams(lattice(4, 3, 0)[None].repeat(2, 1, 1), torch.tensor([0, 4]), 2, 3)
    assert set(found.utterance.tolist()) == {1}
    nothing = prefix_beams(torch.zeros(1, 0, 3), torch.tensor([0]), 2, 3)
    assert nothing.tokens == []
    assert path_scores(lattice(4, 3, 0)[None], torch.tensor([4]), nothing).shape == (0,)


def test_another_blank() -> None:
    log_probs = lattice(4, 3, 5)
    moved = log_probs[:, [1, 2, 0]]  # the blank is the last one
    lengths = torch.tensor([4])
    found = prefix_beams(log_probs[None], lengths, 3, 50)
    other = prefix_beams(moved[None], lengths, 3, 50, blank=2)
    assert other.tokens == [[token - 1 for token in row] for row in found.tokens]
    torch.testing.assert_close(
        path_scores(moved[None], lengths, other, blank=2),
        path_scores(log_probs[None], lengths, found),
    )


def test_scores_have_the_gradient_of_finite_differences() -> None:
    found = Hypotheses(torch.tensor([0, 0, 0]), [[1, 2], [], [2, 2]])
    logits = lattice(4, 3, 1).requires_grad_()
    lengths = torch.tensor([4])

    def scores(values: torch.Tensor) -> torch.Tensor:
        return path_scores(values.log_softmax(dim=-1)[None], lengths, found)

    assert torch.autograd.gradcheck(scores, (logits,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_narrow_beam_keeps_the_best_path(dtype: torch.dtype) -> None:
    log_probs = lattice(30, 40, 3).to(dtype)
    greedy = [token for token, _ in groupby(log_probs.argmax(dim=-1).tolist()) if token]
    found = prefix_beams(log_probs[None], torch.tensor([30]), 1, 1)
    assert found.tokens == [greedy]
