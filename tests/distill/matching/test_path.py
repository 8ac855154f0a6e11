"""Lattice-path matching against plain loops: nodes, delays, windows, foreign paths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.distill.matching.path import PathMatcher
from distill_asr.distill.states import Context, LatticeLogits, Pairs, States

STEP, TOKENS = 40.0, 5  # ms; V


def lattice_of(sizes: list[tuple[int, int]], extra: int = 0) -> tuple[States, Context, Tensor]:
    """A student whose logits at (b, t, u) say so: the first three of V."""
    frames, tokens = (torch.tensor([size[side] for size in sizes]) for side in (0, 1))
    shape = (len(sizes), int(frames.max()) + extra, int(tokens.max()) + 1 + extra)
    grid = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"), dim=-1).float()
    logits = torch.nn.functional.pad(grid, (0, TOKENS - 3))
    lattice = LatticeLogits(lambda b, t, u: logits[b, t, u], tokens)
    student = States(torch.zeros(*shape[:2], 1), frames, STEP)
    return student, Context([f"utt{i}" for i in range(len(sizes))], lattice=lattice), logits


def paths_of(paths: list[list[tuple[int, int]]], extra: int = 0) -> States:
    """Rows t, u, symbol, and a posterior that tells utterance and node."""
    lengths = torch.tensor([len(path) for path in paths])
    values = torch.full((len(paths), int(lengths.max()) + extra, 3 + TOKENS), -77.0)
    for index, path in enumerate(paths):
        for node, (time, token) in enumerate(path):
            said = torch.tensor([index, node, 0, 0, 0.0])
            values[index, node] = torch.cat([torch.tensor([float(time), float(token), 9.0]), said])
    return States(values, lengths, STEP)


def told(pairs: Pairs) -> list[tuple]:
    """(utterance, student's b, t, u, teacher's utterance, node) of every pair."""
    rows = torch.cat(
        [pairs.utterance.unsqueeze(1), pairs.student[:, :3], pairs.teacher[:, :2]], dim=1
    )
    return [tuple(int(x) for x in row) for row in rows]


@st.composite
def walks(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[tuple[int, int]]]]:
    """Lattice sizes, and a path through each, which may be empty or end early."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=3))
    paths = []
    for frames, tokens in sizes:
        time, token, path = 0, 0, []
        for step in draw(st.lists(st.booleans(), max_size=9)):
            if time >= frames or token > tokens:
                break
            path.append((time, token))
            time, token = (time + 1, token) if step else (time, token + 1)
        paths.append(path)
    return sizes, paths


@settings(max_examples=60, deadline=None)
@given(walks(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
def test_nodes_at_every_delay_that_lies_inside(
    walk: tuple, delay: int, window: int, extra: int
) -> None:
    sizes, paths = walk
    student, context, _ = lattice_of(sizes, extra)
    matcher = PathMatcher(delay * STEP, window * STEP)
    pairs = matcher(student, paths_of(paths, extra), context)
    expected = [
        (index, index, time + shift, token, index, node)
        for index, path in enumerate(paths)
        for node, (time, token) in enumerate(path)
        for shift in range(delay - window, delay + 1)
        if 0 <= time + shift < sizes[index][0]
    ]
    assert told(pairs) == expected
    if window:
        nodes = [(row[4], row[5]) for row in expected]
        groups = dict(zip(pairs.alternatives.tolist(), nodes, strict=True))
        assert [groups[number] for number in pairs.alternatives.tolist()] == nodes
        assert len(set(groups.values())) == len(groups)
    else:
        assert pairs.alternatives is None


def test_the_gradient_reaches_the_nodes_alone() -> None:
    student, _, logits = lattice_of([(3, 1)])
    logits.requires_grad_()
    lattice = LatticeLogits(lambda b, t, u: logits[b, t, u], torch.tensor([1]))
    pairs = PathMatcher()(student, paths_of([[(0, 0), (1, 0), (1, 1)]]), Context(lattice=lattice))
    pairs.student.sum().backward()
    touched = {tuple(place) for place in logits.grad[0].sum(-1).nonzero().tolist()}
    assert touched == {(0, 0), (1, 0), (1, 1)}


def test_a_path_of_other_audio_or_of_another_transcript_is_named() -> None:
    student, context, _ = lattice_of([(3, 1), (3, 1)])
    with pytest.raises(ValueError, match=r"utt1: .*more tokens.*another transcript"):
        PathMatcher()(student, paths_of([[(0, 0)], [(0, 2)]]), context)
    late = paths_of([[(6, 0)], [(0, 0)]])
    with pytest.raises(ValueError, match=r"utt0: .*more frames.*other audio"):
        PathMatcher()(student, late, context)
    assert told(PathMatcher(tolerance=4)(student, late, context)) == [(1, 1, 0, 0, 1, 0)]


def test_only_a_transducer_has_a_lattice() -> None:
    student, _, _ = lattice_of([(3, 1)])
    with pytest.raises(ValueError, match="transducer"):
        PathMatcher()(student, paths_of([[(0, 0)]]), Context())


def test_frame_rates_must_be_equal() -> None:
    assert PathMatcher().paired_width(8, 40.0, 40.0) == 5
    with pytest.raises(ValueError, match="equal frame rates"):
        PathMatcher().paired_width(8, 40.0, 20.0)


@pytest.mark.parametrize("conf", [{"delay": -1.0}, {"window": -1.0}, {"tolerance": -1}])
def test_bad_options(conf: dict) -> None:
    with pytest.raises(ValueError, match="must be 0"):
        PathMatcher(**conf)
