"""Batched greedy search against one utterance and one frame at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distill_asr.decode.alignment import align
from distill_asr.decode.greedy import (
    GreedySearch,
    TransducerGreedySearch,
    search_all,
    step_ms,
)
from distill_asr.decode.search import TransducerSearch
from distill_asr.testing.students import tiny_student

BLANK = 0
PREDICTORS = {
    "stateless": {"embed_size": 8},
    "lstm": {"embed_size": 8, "hidden_size": 12, "num_layers": 2},
}


def talkative(predictor: str, blank: float = 1.0) -> nn.Module:
    """A random student that is sure of what it says; the more ``blank``, the fewer tokens."""
    made = tiny_student("transducer", decoder=predictor, decoder_conf=PREDICTORS[predictor]).eval()
    with torch.no_grad():
        for layer in (made.joint_network.lin_enc, made.joint_network.lin_dec):
            layer.weight *= 3
        made.joint_network.lin_out.weight *= 8
        made.joint_network.lin_out.bias[BLANK] += blank
    return made


def sensible() -> nn.Module:
    """A student that says what a frame shows, once: see ``shown``."""
    made = tiny_student("transducer", joint_net_conf={"joint_space_size": 8}).eval()
    joint = made.joint_network
    with torch.no_grad():
        made.decoder.embed.weight[1:] = torch.eye(8)[1:]  # the last token ...
        joint.lin_dec.weight[:] = -2 * torch.eye(8)  # ... is not said again
        joint.lin_enc.weight[:] = torch.eye(8, 16)
        joint.lin_out.weight[:] = 100 * torch.eye(8)
        for layer in (joint.lin_dec, joint.lin_enc, joint.lin_out):
            layer.bias.zero_()
        joint.lin_out.bias[BLANK] = 30
    return made


def shown(symbols: list[int], seed: int = 0) -> Tensor:
    """[T, 16] frames of symbols in noise."""
    noise = 0.05 * torch.randn(len(symbols), 16, generator=torch.Generator().manual_seed(seed))
    return torch.eye(8, 16)[symbols] + noise


STUDENTS = {name: talkative(name) for name in PREDICTORS}
SYMBOLS = [[3, 3, BLANK, 4, 4, 3], [BLANK] * 9, [5, BLANK, BLANK, 6, BLANK, 5, 5], [4]] * 4
SAID = [[3, 4, 3], [], [5, 6, 5], [4]] * 4
each_predictor = pytest.mark.parametrize("predictor", sorted(PREDICTORS))


def encodings(frames: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 16, generator=generator) for count in frames]


@torch.inference_mode()
def plain(made: nn.Module, encoded: Tensor, limit: int) -> tuple[list[int], list[int], float]:
    """The definition: one utterance, the predictor run over the whole history every time."""
    tokens, frames, score = [], [], 0.0
    for time, frame in enumerate(encoded):
        for emitted in range(limit + 1):
            made.decoder.set_device(encoded.device)
            predicted = made.decoder(torch.tensor([[BLANK, *tokens]]))[0, -1]
            scores = made.joint_network(frame, predicted).log_softmax(-1)
            symbol = BLANK if emitted == limit else int(scores.argmax())
            score += float(scores[symbol])
            if symbol == BLANK:
                break
            tokens.append(symbol)
            frames.append(time)
    return tokens, frames, score


def batched(made: nn.Module, encoded: list[Tensor], limit: int, cuts: list[int]) -> list[tuple]:
    """Through ``GreedySearch``, the frames cut into pieces."""
    search = GreedySearch(made.decoder, made.joint_network, BLANK, limit)
    padded = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=9.0)
    lengths, begin = torch.tensor([len(one) for one in encoded]), 0
    state = search.start(len(encoded), padded.device)
    for end in sorted({*(c for c in cuts if c < padded.size(1)), padded.size(1)}):
        search.advance(state, padded[:, begin:end], (lengths - begin).clamp(0, end - begin))
        begin = end
    return list(zip(state.tokens, state.frames, state.scores.tolist(), strict=True))


@each_predictor
@settings(max_examples=25, deadline=None)
@given(
    frames=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    limit=st.integers(1, 4),
    cuts=st.lists(st.integers(1, 11), max_size=3),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_loop(predictor, frames, limit, cuts, seed) -> None:
    made, encoded = STUDENTS[predictor], encodings(frames, seed)
    found = batched(made, encoded, limit, cuts)
    for (tokens, times, score), one in zip(found, encoded, strict=True):
        expected = plain(made, one, limit)
        assert (tokens, times) == expected[:2]
        assert score == pytest.approx(expected[2], rel=1e-4, abs=1e-4)


@each_predictor
def test_the_comparison_sees_tokens_and_limits(predictor: str) -> None:
    found = batched(STUDENTS[predictor], encodings([40] * 8), 2, [])
    assert len({tuple(tokens) for tokens, _, _ in found}) == 8
    times = [frame for _, frames, _ in found for frame in frames]
    counts = {frames.count(t) for _, frames, _ in found for t in range(40)}
    assert len(times) > 40 and counts >= {0, 2}


@torch.inference_mode()
def test_espnets_beam_of_one_finds_the_same_where_it_takes_nothing_back() -> None:
    """Its search compares hypotheses of different length, so only sure students agree with it."""
    made = sensible()
    encoded = [shown(symbols, seed) for seed, symbols in enumerate(SYMBOLS)]
    theirs = [TransducerSearch(made, 1, 1).beam(one)[0] for one in encoded]
    found = batched(made, encoded, 5, [])
    assert [tokens for tokens, _, _ in found] == [one.yseq[1:] for one in theirs] == SAID
    assert found[0][1] == [0, 3, 5] and found[2][1] == [0, 3, 5]
    for (_, _, score), one in zip(found, theirs, strict=True):
        assert score == pytest.approx(one.score, abs=0.01)


def test_the_best_alignment_is_the_greedy_path_where_that_is_best() -> None:
    made = sensible()
    encoded = [shown(symbols, seed) for seed, symbols in enumerate(SYMBOLS)]
    for one, (tokens, frames, score) in zip(encoded, batched(made, encoded, 5, []), strict=True):
        path = align(made, one, tokens)
        assert path.frames == frames and path.score == pytest.approx(score, abs=1e-3)


def test_many_utterances_take_few_steps() -> None:
    """The number of calls is what costs, not the number of rows in one."""
    made, calls = sensible(), []
    encoded = [shown(symbols) for symbols in SYMBOLS]
    made.joint_network.register_forward_hook(lambda *_: calls.append(1))
    together, count = batched(made, encoded, 5, []), len(calls)
    calls.clear()
    assert [batched(made, [one], 5, [])[0][0] for one in encoded] == [one[0] for one in together]
    assert count < len(calls) / 6


def test_whole_utterances() -> None:
    made = STUDENTS["lstm"]
    generator = torch.Generator().manual_seed(0)
    speech = [0.1 * torch.randn(n, generator=generator) for n in (9000, 16000, 300, 12000, 9000)]
    search = TransducerGreedySearch(made, batch_size=2)
    alone = [search(one)[0] for one in speech]
    assert alone[2].tokens == [] and alone[2].frames == [] and alone[2].score == 0
    named = search_all(search, ((f"utt{i}", one) for i, one in enumerate(speech)))
    for i, (name, (found,)) in enumerate(named):
        assert name == f"utt{i}" and found.tokens == alone[i].tokens
        assert found.frames == alone[i].frames and len(found.frames) == len(found.tokens)
        assert found.frames == sorted(found.frames)
        assert found.score == pytest.approx(alone[i].score, rel=1e-4)
    assert i == 4


def test_searches_that_know_no_batches_get_none() -> None:
    found = search_all(lambda speech: [float(speech)], [("a", torch.tensor(1.0)), ("b", 2.0)])
    assert list(found) == [("a", [1.0]), ("b", [2.0])]


def test_duration_of_a_frame() -> None:
    assert step_ms(STUDENTS["lstm"], 16000) == 40.0
