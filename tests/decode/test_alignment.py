"""Best path through a transducer's lattice against all paths there are."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.decode import alignment
from distill_asr.decode.alignment import align, best_path, lattice_scores
from distill_asr.decode.greedy import TransducerGreedySearch
from distill_asr.decode.search import TransducerSearch, encode
from distill_asr.testing.students import tiny_student

BLANK = 0


def opinionated(predictor: str = "stateless", sure: float = 8.0) -> torch.nn.Module:
    conf = {"stateless": {"embed_size": 8}, "lstm": {"embed_size": 8, "hidden_size": 12}}
    made = tiny_student("transducer", decoder=predictor, decoder_conf=conf[predictor]).eval()
    with torch.no_grad():
        made.joint_network.lin_out.weight *= sure
        made.joint_network.lin_out.bias[BLANK] += 1.0
    return made


def speech(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def all_paths(blank: Tensor, token: Tensor) -> dict[tuple[int, ...], float]:
    """Score of every placement of the tokens, symbol by symbol."""
    frames, count = token.shape
    found = {}
    for places in itertools.combinations_with_replacement(range(frames), count):
        score, u = 0.0, 0
        for t in range(frames):
            while u < count and places[u] == t:
                score += float(token[t, u])
                u += 1
            score += float(blank[t, u])
        found[places] = score
    return found


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 5), tokens=st.integers(0, 4), seed=st.integers(0, 10_000))
def test_no_path_is_better(frames: int, tokens: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    blank = -5 * torch.rand(frames, tokens + 1, generator=generator)
    token = -5 * torch.rand(frames, tokens, generator=generator)
    every = all_paths(blank, token)
    found = best_path(blank, token)
    assert tuple(found.frames) == max(every, key=lambda places: every[places])
    assert found.score == pytest.approx(max(every.values()), abs=1e-5)


def test_long_lattices_lose_nothing() -> None:
    """What single tokens cost survives sums of tens of thousands."""
    frames, tokens = 600, 300
    places = sorted(torch.randint(frames, (tokens,), generator=torch.Generator().manual_seed(1)))
    blank, token = torch.full((frames, tokens + 1), -1e-3), torch.full((frames, tokens), -500.0)
    token[torch.stack(places), torch.arange(tokens)] = -499.999
    assert best_path(blank, token).frames == [int(place) for place in places]


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
def test_scores_are_those_of_the_loss(predictor: str) -> None:
    """The whole lattice: log-probabilities at the nodes; all paths together sum to the loss."""
    made, tokens = opinionated(predictor, sure=2.0), [3, 5, 3]
    encoded = encode(made, speech(4000)).detach()
    with torch.no_grad():
        blank, token = lattice_scores(made, encoded, tokens)
        sums = torch.tensor(list(all_paths(blank, token).values())).logsumexp(0)
        lengths = torch.tensor([len(encoded)]), torch.tensor([3])
        loss = made.transducer_loss(encoded[None], lengths[0], torch.tensor([tokens]), lengths[1])
    assert len(encoded) > 3
    assert float(sums) == pytest.approx(-float(loss), abs=1e-4)


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = opinionated()
    encoded = encode(made, speech(16000))
    whole = align(made, encoded, [3, 4, 5, 6])
    monkeypatch.setattr(alignment, "BUDGET", 1)
    assert align(made, encoded, [3, 4, 5, 6]) == whole
    assert whole.frames == sorted(whole.frames) and len(whole.frames) == 4


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
def test_never_worse_than_greedy(predictor: str) -> None:
    for seed, sure in enumerate([2.0, 8.0, 20.0]):
        made, audio = opinionated(predictor, sure), speech(9000, seed)
        (greedy,) = TransducerGreedySearch(made)(audio)
        assert greedy.tokens
        assert align(made, encode(made, audio), greedy.tokens).score >= greedy.score - 1e-3


def test_beam_search_says_when() -> None:
    made, audio = opinionated("lstm", sure=2.0), speech(6000)
    plain = TransducerSearch(made, 3, 3)(audio)
    timed = TransducerSearch(made, 3, 3, timestamps=True)(audio)
    assert [(one.tokens, one.score) for one in timed] == [(o.tokens, o.score) for o in plain]
    assert all(one.frames is None and one.path_score is None for one in plain)
    for one in timed:
        path = align(made, encode(made, audio), one.tokens)
        assert (one.frames, one.path_score) == (path.frames, path.score)
    assert any(one.tokens for one in timed)


def test_no_tokens_and_no_frames() -> None:
    made = opinionated()
    encoded = encode(made, speech(12000))
    with torch.no_grad():
        blank, _ = lattice_scores(made, encoded, [])
    silent = align(made, encoded, [])
    assert silent.frames == [] and silent.score == pytest.approx(float(blank.sum()), abs=1e-4)
    (short,) = TransducerSearch(made, 2, 1, timestamps=True)(speech(300))
    assert (short.tokens, short.frames, short.path_score) == ([], [], 0.0)
