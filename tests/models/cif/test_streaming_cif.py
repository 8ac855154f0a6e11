"""Chunks of any size give the tokens of the whole."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.models.cif import StreamingCif, integrate_and_fire


@st.composite
def cut_utterance(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    """Weights, late bursts among them, and sizes of chunks, some of them empty."""
    weight = st.one_of(
        st.floats(0, 1, width=32), st.sampled_from([0.0, 0.495, 0.5, 0.99, 1.0, 4.0])
    )
    alpha = draw(st.lists(weight, min_size=1, max_size=40))
    cuts = draw(st.lists(st.integers(0, len(alpha)), max_size=12))
    edges = [0, *sorted(cuts), len(alpha)]
    return alpha, [after - before for before, after in pairwise(edges)]


@settings(deadline=None, max_examples=300)
@given(cut_utterance(), st.sampled_from([0.2, 0.5, 0.9]))
def test_chunks_of_any_size_give_the_tokens_of_the_whole(
    drawn: tuple[list[float], list[int]], tail_threshold: float
) -> None:
    alpha, sizes = torch.tensor(drawn[0], dtype=torch.float64), drawn[1]
    hidden = torch.randn(
        len(alpha), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    stream = StreamingCif(tail_threshold=tail_threshold)
    for _ in range(2):  # finish() leaves it as it was at first
        pieces = [
            stream.push(frames, weights)
            for frames, weights in zip(hidden.split(sizes), alpha.split(sizes), strict=True)
        ]
        found = torch.cat([*pieces, stream.finish()])
        whole = integrate_and_fire(
            hidden[None], alpha[None], torch.tensor([len(alpha)]), tail_threshold=tail_threshold
        )
        torch.testing.assert_close(found, whole.states[0], atol=1e-12, rtol=1e-9)


def test_a_token_comes_with_the_chunk_in_which_it_ends() -> None:
    stream, frame = StreamingCif(), torch.ones(1, 2)
    weights = [0.4, 0.5, 0.2, 0.3, 0.7, 0.1]
    counts = [len(stream.push(frame, torch.tensor([weight]))) for weight in weights]
    assert counts == [0, 0, 1, 0, 1, 0]
    assert len(stream.finish()) == 0  # 0.2 is left


def test_an_hour_frame_by_chunk_counts_as_the_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    alpha, hidden = torch.rand(45000, generator=generator), torch.ones(45000, 1)
    stream = StreamingCif()
    pieces = zip(hidden.split(640), alpha.split(640), strict=True)
    count = sum(len(stream.push(*piece)) for piece in pieces) + len(stream.finish())
    whole = integrate_and_fire(hidden[None], alpha[None], torch.tensor([45000]))
    assert count == int(whole.lengths[0])


def test_half_precision_frames() -> None:
    stream = StreamingCif()
    first = stream.push(torch.ones(3, 2).half(), torch.full((3,), 0.4).half())
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, torch.ones(1, 2))


def test_an_end_without_a_beginning() -> None:
    with pytest.raises(ValueError, match="push"):
        StreamingCif().finish()
    stream = StreamingCif()
    assert stream.push(torch.zeros(0, 4), torch.zeros(0)).shape == (0, 4)
    assert stream.finish().shape == (0, 4)
