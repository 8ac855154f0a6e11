"""Token matching against a plain loop, and its laws."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.matching.token import TokenMatcher
from distill_asr.distill.states import Context, Pairs, States
from distill_asr.errors import UserError
from distill_asr.testing.text_models import save_text_model


def batch(pairs: list[tuple[int, int]], extra: int = 0, fill: float = 0.0) -> tuple[States, States]:
    """Utterances of (student tokens, teacher positions), padded by ``extra`` more."""
    generator, sides = torch.Generator().manual_seed(0), []
    for side, width in enumerate((2, 3)):
        lengths = torch.tensor([pair[side] for pair in pairs])
        values = torch.full((len(pairs), int(lengths.max()) + extra, width), fill)
        for row, length in zip(values, lengths.tolist(), strict=True):
            row[:length] = torch.randn(length, width, generator=generator)
        sides.append(States(values, lengths, None))
    return sides[0], sides[1]


def same(one: Pairs, other: Pairs) -> bool:
    return (
        torch.equal(one.student, other.student)
        and torch.equal(one.teacher, other.teacher)
        and torch.equal(one.utterance, other.utterance)
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from("both one none".split())), min_size=1),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 3),
)
def test_positions_in_order_without_the_special_ones(
    drawn: list[tuple[int, str]], first: int, last: int, extra: int
) -> None:
    sizes = {"both": (1, 1), "one": (0, 1), "none": (1, 0)}  # sides that are there
    pairs = [
        (sizes[what][0] * count, sizes[what][1] * (first + count + last)) for count, what in drawn
    ]
    student, teacher = batch(pairs, extra, fill=float("nan"))
    found = TokenMatcher(first, last)(student, teacher, Context())
    expected = [
        (student.values[i, u].tolist(), teacher.values[i, first + u].tolist(), i)
        for i, (count, what) in enumerate(drawn)
        for u in range(count if what == "both" else 0)
    ]
    assert found.student.tolist() == [ours for ours, _, _ in expected]
    assert found.teacher.tolist() == [theirs for _, theirs, _ in expected]
    assert found.utterance.tolist() == [i for _, _, i in expected]
    assert found.student.shape[1:] == (2,) and found.teacher.shape[1:] == (3,)


def test_cls_is_dropped_and_sep_teaches_the_end() -> None:
    teacher = States(torch.arange(5.0).reshape(1, 5, 1), torch.tensor([5]), None)
    student = States(torch.zeros(1, 4, 2), torch.tensor([4]), None)
    assert TokenMatcher()(student, teacher, Context()).teacher.flatten().tolist() == [1, 2, 3, 4]
    no_end = States(torch.zeros(1, 3, 2), torch.tensor([3]), None)
    pairs = TokenMatcher(drop_last=1)(no_end, teacher, Context())
    assert pairs.teacher.flatten().tolist() == [1, 2, 3]


def test_gradients_reach_the_student() -> None:
    student, teacher = batch([(2, 3), (1, 2)])
    student.values.requires_grad_()
    TokenMatcher()(student, teacher, Context()).student.sum().backward()
    assert student.values.grad[..., 0].tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_other_lengths_name_every_utterance() -> None:
    context = Context(utt_ids=["fits", "short", "long", "silent"])
    student, teacher = batch([(3, 4), (3, 6), (5, 4), (0, 9)])
    with pytest.raises(ValueError) as caught:
        TokenMatcher()(student, teacher, context)
    message = str(caught.value)
    assert "short: 3 student tokens, 5 from the teacher" in message
    assert "long: 5 student tokens, 3 from the teacher" in message
    assert "fits" not in message and "silent" not in message


def test_frames_are_no_tokens() -> None:
    assert TokenMatcher().paired_width(7, None, None) == 7
    for steps in ((40.0, None), (None, 20.0)):
        with pytest.raises(ValueError, match="not frames"):
            TokenMatcher().paired_width(7, *steps)


@pytest.mark.parametrize("name", ["drop_first", "drop_last"])
def test_bad_arguments(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TokenMatcher(**{name: -1})


# -- other tokens than the teacher's ------------------------------------------------------

# its pieces: a b c d ab cd ##a ##b ##c ##d
CHARACTERS = {" ": "<space>"}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_text_model(tmp_path_factory.mktemp("bert")))


def characters(text: str) -> list[str]:
    return [CHARACTERS.get(char, char) for char in text]


def told(*texts: str, **changes: list) -> Context:
    given = {"texts": list(texts), "tokens": [characters(text) for text in texts]}
    return Context(utt_ids=[f"utt{i}" for i in range(len(texts))], **(given | changes))


def test_states_are_pooled_over_characters(bert: str) -> None:
    # abc d: [CLS] ab ##c d [SEP]; a fourth position of the student is its end token
    teacher = States(torch.tensor([[[9.0], [2.0], [3.0], [5.0], [7.0]]]), torch.tensor([5]), None)
    tokens = [["▁abc", "▁d"], ["▁a", "bc", "▁d"], characters("abc d")]
    expected = [[(2 * 2 + 3) / 3, 5, 7], [2, 2.5, 5, 7], [2, 2, 3, 5, 7]]
    for ours, theirs in zip(tokens, expected, strict=True):
        values = torch.arange(1.0 + len(ours)).reshape(1, -1, 1)
        student = States(values, torch.tensor([1 + len(ours)]), None)
        pairs = TokenMatcher(tokenizer=bert)(student, teacher, told("abc d", tokens=[ours]))
        torch.testing.assert_close(pairs.teacher.flatten(), torch.tensor(theirs).float())
        kept = [u for u, token in enumerate(ours) if token != "<space>"]
        assert pairs.student.flatten().tolist() == [*kept, len(ours)]


def test_sep_teaches_the_end_token_only(bert: str) -> None:
    with_end, without = TokenMatcher(tokenizer=bert), TokenMatcher(tokenizer=bert, drop_last=1)
    both = batch([(4, 4), (3, 4)]), told("a b", "a b")
    assert with_end(*both[0], both[1]).utterance.tolist() == [0, 0, 0, 1, 1]
    assert without(*both[0], both[1]).utterance.tolist() == [0, 0, 1, 1]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.text("abcd", min_size=1, max_size=4), max_size=4), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_padding_and_company_change_nothing(bert, words: list[list[str]], extra: int) -> None:
    texts = [" ".join(line) for line in words]
    matcher = TokenMatcher(tokenizer=bert)
    counts = [(len(text) + 1, len(matcher._pieces(text)[0])) for text in texts]
    student, teacher = batch(counts, extra, fill=float("nan"))
    found = matcher(student, teacher, told(*texts))
    alone = []
    for i, text in enumerate(texts):
        one = (
            States(side.values[i : i + 1, :count], side.lengths[i : i + 1], None)
            for side, count in zip((student, teacher), counts[i], strict=True)
        )
        pairs = matcher(*one, told(text))
        alone.append(Pairs(pairs.student, pairs.teacher, pairs.utterance + i))
        assert len(pairs.student) == len(text.replace(" ", "")) + 1
    names = ("student", "teacher", "utterance")
    together = [torch.cat([getattr(p, name) for p in alone]) for name in names]
    assert same(found, Pairs(*together))


def test_tokens_that_are_the_teachers_pieces_are_matched_one_to_one(bert: str) -> None:
    pair = batch([(4, 5), (0, 5), (4, 0)])
    context = told(*["abc d"] * 3, tokens=[["ab", "##c", "d"]] * 3)
    pooled = TokenMatcher(tokenizer=bert)(*pair, context)
    torch.testing.assert_close(pooled.teacher, TokenMatcher()(*pair, context).teacher)
    assert pooled.utterance.tolist() == [0] * 4


def test_nothing_to_pair(bert: str) -> None:
    found = TokenMatcher(tokenizer=bert)(*batch([(3, 0), (0, 4)]), told("a b", "a b"))
    assert found.student.shape == (0, 2) and found.teacher.shape == (0, 3)


def test_mistakes_name_the_utterance(bert: str) -> None:
    matcher = TokenMatcher(tokenizer=bert)
    with pytest.raises(ValueError, match="utt1: 4 student tokens and 9 teacher positions"):
        matcher(*batch([(4, 4), (4, 9)]), told("a b", "a b"))
    with pytest.raises(ValueError, match="utt0: 9 student tokens and 4 teacher positions"):
        matcher(*batch([(9, 4)]), told("a b"))
    with pytest.raises(ValueError, match=r"utt0: the tokens 'c d' do not spell 'a b'"):
        matcher(*batch([(3, 4)]), told("a b", tokens=[["c", "d"]]))
    with pytest.raises(ValueError, match="trained on text"):
        matcher(*batch([(3, 4)]), told())
    student, teacher = batch([(3, 4)])
    codes = States(teacher.values.long(), teacher.lengths, None)
    with pytest.raises(ValueError, match="codes"):
        matcher(student, codes, told("a b"))


def test_no_such_tokenizer(tmp_path: Path) -> None:
    matcher = TokenMatcher(tokenizer=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere cannot be loaded"):
        matcher(*batch([(3, 4)]), told("a b"))


def test_an_unknown_piece_teaches_the_unknown_token(bert: str) -> None:
    pair = batch([(4, 4)])
    pairs = TokenMatcher(tokenizer=bert)(*pair, told("a x", tokens=[["a", "<space>", "<unk>"]]))
    # [CLS] a [UNK] [SEP]
    assert torch.equal(pairs.teacher, pair[1].values[0, 1:])


def test_the_survey_counts_pieces_and_what_is_unknown(bert: str) -> None:
    texts = {"u1": "abc x", "u2": "d x y", "u3": "ab"}
    assert TokenMatcher(tokenizer=bert).survey(texts) == (
        "the teacher reads 7 pieces for 6 words of 3 utterances; 3 in 2 utterances are unknown to "
        "it ('x' 2, 'y' 1), and its state for unknown pieces stands for them"
    )
    known = TokenMatcher(tokenizer=bert).survey({"u1": "AB CD"})
    assert known.endswith("0 in 0 utterances are unknown to it"), "this one folds case"


def test_the_survey_says_that_capitals_are_strange_to_a_cased_teacher(tmp_path: Path) -> None:
    cased = str(save_text_model(tmp_path, "roberta"))
    assert "the text is in capitals" in TokenMatcher(tokenizer=cased).survey({"u": "AB", "v": "C"})
    assert "capitals" not in TokenMatcher(tokenizer=cased).survey({"u": "ab", "v": "c"})


@pytest.mark.parametrize("pooled", [False, True])
def test_pairs_know_their_token(bert: str, pooled: bool) -> None:
    ids = torch.tensor([[5, 6, 7, 9], [8, 9, -1, -1]])
    tokens = [["ab", "##c", "d"], ["a"]]
    context = told("abc d", "a", tokens=tokens, token_ids=ids)
    matcher = TokenMatcher(tokenizer=bert if pooled else None)
    assert matcher.reads_text == pooled and matcher.has_tokens
    assert matcher(*batch([(4, 5), (2, 3)]), context).tokens.tolist() == [5, 6, 7, 9, 8, 9]
    spaced = told("a d", token_ids=torch.tensor([[3, 2, 4, 9]]))
    if pooled:  # the space gives no pair
        assert matcher(*batch([(4, 4)]), spaced).tokens.tolist() == [3, 4, 9]
