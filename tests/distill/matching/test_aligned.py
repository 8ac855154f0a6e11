"""Laws of pairs by edit distance and by forced alignment."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_asr.distill.matching.aligned import AlignedMatcher
from distill_asr.distill.states import Context, Pairs, States

BLANK, UNK, VOCABULARY, END = 0, 1, 7, 9
PATHS = st.lists(st.lists(st.integers(0, 5), max_size=14), min_size=1, max_size=3)
WORDS = st.lists(st.integers(2, 5), max_size=6)


def batch(
    paths: list[list[int]], words: list[list[int]], extra: int = 0, fill: float = 7.0
) -> tuple[States, States, Context]:
    """Frame t of utterance i is (i, t), position s of the teacher (i, s); padding is ``fill``."""
    frames = max(map(len, paths)) + extra + 1
    most = max(map(len, words)) + extra + 2
    student, teacher = (torch.full((len(paths), size, 2), fill) for size in (frames, most))
    logits = torch.randn(len(paths), frames, VOCABULARY)
    ids = torch.full((len(paths), most), 3)
    for i, (path, row) in enumerate(zip(paths, words, strict=True)):
        student[i, : len(path)] = places(i, len(path))
        teacher[i, : len(row) + 2] = places(i, len(row) + 2)
        if path:
            logits[i, torch.arange(len(path)), torch.tensor(path)] = 20.0
        ids[i, : len(row) + 1] = torch.tensor([*row, END])
    lengths = [torch.tensor([len(one) for one in side]) for side in (paths, words)]
    context = Context(
        taps={"ctc": States(logits, lengths[0], 40.0)},
        token_ids=ids,
        token_lengths=lengths[1] + 1,
    )
    return States(student, lengths[0], 40.0), States(teacher, lengths[1] + 2, None), context


def places(utterance: int, count: int) -> Tensor:
    return torch.tensor([[utterance, place] for place in range(count)]).reshape(-1, 2).float()


def same(one: Pairs, other: Pairs) -> bool:
    rows = ("student", "teacher", "utterance", "tokens")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in rows)


@settings(deadline=None, max_examples=60)
@given(PATHS, st.data(), st.sampled_from(["skip", "stretch"]), st.integers(0, 3))
def test_pairs_keep_order_and_padding_changes_nothing(paths, data, unmatched, extra) -> None:
    words = [data.draw(WORDS) for _ in paths]
    matcher = AlignedMatcher(unmatched)
    pairs = matcher(*batch(paths, words))
    assert same(pairs, matcher(*batch(paths, words, extra, float("nan"))))
    assert (pairs.student[:, 0] == pairs.utterance).all()
    assert (pairs.teacher[:, 0] == pairs.utterance).all()
    for i, row in enumerate(words):
        mine = pairs.utterance == i
        frames, positions = pairs.student[mine, 1].tolist(), pairs.teacher[mine, 1].tolist()
        assert frames == sorted(set(frames)) and positions == sorted(positions)
        assert [row[int(p) - 1] for p in positions] == pairs.tokens[mine].tolist()
    assert 0 <= pairs.shares["right"] <= 1 and 0 <= pairs.shares["paired"] <= 1


@settings(deadline=None, max_examples=30)
@given(PATHS, st.data())
def test_the_same_alone_and_in_a_batch(paths, data) -> None:
    words = [data.draw(WORDS) for _ in paths]
    together = AlignedMatcher()(*batch(paths, words))
    for i in range(len(paths)):
        alone = AlignedMatcher()(*batch([paths[i]], [words[i]]))
        mine = together.utterance == i
        assert torch.equal(together.student[mine, 1], alone.student[:, 1])
        assert torch.equal(together.teacher[mine, 1], alone.teacher[:, 1])


def test_a_right_path_pairs_everything() -> None:
    path = [0, 2, 2, 0, 2, 3, 3, 1, 4]
    pairs = AlignedMatcher()(*batch([path], [[2, 2, 3, 4]]))
    assert pairs.student[:, 1].tolist() == [1.5, 4.0, 5.5, 8.0]
    assert pairs.teacher[:, 1].tolist() == [1, 2, 3, 4]
    assert pairs.shares == {"paired": 1.0, "right": 1.0}


def test_wrong_units_are_left_out_or_stretched() -> None:
    path, words = [2, 0, 5, 0, 3], [2, 4, 4, 3]
    pairs = AlignedMatcher()(*batch([path], [words]))
    assert pairs.teacher[:, 1].tolist() == [1, 4]
    assert pairs.shares == {"paired": 2 / 3, "right": 1.0}
    pairs = AlignedMatcher("stretch")(*batch([path], [words]))
    assert pairs.teacher[:, 1].tolist() == [1, 2, 4]
    assert pairs.shares == {"paired": 1.0, "right": 2 / 3}
    substituted = AlignedMatcher()(*batch([path], [[2, 4, 3]]))
    assert substituted.teacher[:, 1].tolist() == [1, 2, 3]


class WithoutFives(AlignedMatcher):
    """No piece of the teacher holds token 5, as none holds a space."""

    def _token_states(self, teacher, context, rows):
        states, _ = super()._token_states(teacher, context, rows)
        return states, [[token != 5 for token in row] for row in rows]


@pytest.mark.parametrize("pairs", ["path", "forced"])
def test_tokens_without_a_piece_count_neither_as_pairs_nor_as_right(pairs: str) -> None:
    made = WithoutFives(pairs=pairs)(*batch([[2, 5, 3, 5, 4, 0]], [[2, 5, 3, 5, 4]]))
    assert made.tokens.tolist() == [2, 3, 4]
    assert made.shares == {"paired": 1.0, "right": 1.0}


def test_a_wrong_run_is_no_right_one_beside_tokens_without_a_piece() -> None:
    made = WithoutFives()(*batch([[2, 5, 4, 5, 4, 0]], [[2, 5, 3, 5, 4]]))
    assert made.tokens.tolist() == [2, 3, 4]
    assert made.shares == {"paired": 1.0, "right": 2 / 3}


def test_forced_pairs_every_token_in_order_whatever_the_path() -> None:
    words = [[2, 2, 3], [4, 5]]
    pairs = AlignedMatcher(pairs="forced")(*batch([[0] * 9, [5, 5, 4, 4, 0]], words))
    assert pairs.teacher[:, 1].tolist() == [1, 2, 3, 1, 2]
    assert pairs.tokens.tolist() == [2, 2, 3, 4, 5]
    for i in range(2):
        frames = pairs.student[pairs.utterance == i, 1].tolist()
        assert frames == sorted(set(frames))


def test_a_transcript_longer_than_the_audio_has_no_forced_pairs() -> None:
    pairs = AlignedMatcher(pairs="forced")(*batch([[2, 0], [2, 3, 4]], [[2, 2], [2, 3, 4]]))
    assert pairs.utterance.tolist() == [1, 1, 1]


def test_gradients_reach_the_paired_frames_alone() -> None:
    student, teacher, context = batch([[0, 2, 2, 0]], [[2]])
    values = student.values.clone().requires_grad_()
    pairs = AlignedMatcher()(States(values, student.lengths, 40.0), teacher, context)
    pairs.student.sum().backward()
    assert (values.grad[0, :, 0] != 0).tolist() == [False, True, True, False, False]


def test_bad_arguments_and_batches() -> None:
    for conf in ({"unmatched": "x"}, {"pairs": "x"}, {"drop_first": -1}):
        with pytest.raises(ValueError, match=next(iter(conf))):
            AlignedMatcher(**conf)
    with pytest.raises(ValueError, match="a tap of frames"):
        AlignedMatcher().paired_width(8, None, None)
    student, teacher, context = batch([[2, 3]], [[2, 3]])
    with pytest.raises(ValueError, match="needs transcripts"):
        AlignedMatcher()(student, teacher, Context(taps=context.taps))
    short = States(teacher.values, teacher.lengths - 1, None)
    with pytest.raises(ValueError, match="2 student tokens, 1 from the teacher"):
        AlignedMatcher()(student, short, context)
