"""Laws of training on the expected score of an N-best list."""

from __future__ import annotations

import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.build import build_distillers
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.matching.nbest import NBestMatcher, renormalised
from distill_asr.distill.matching.prefix_beams import path_scores, prefix_beams
from distill_asr.distill.states import Context, States, TapShape

WIDTH, VOCABULARY = 5, 4
LENGTHS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=3)


def states_of(tokens: list[int]) -> torch.Tensor:
    """A text model's: each depends on its token and on the neighbours; [tokens, E]."""
    rows = []
    for i in range(len(tokens)):
        seed = zlib.crc32(str(tokens[max(0, i - 1) : i + 2]).encode())
        near = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
        own = torch.randn(WIDTH, generator=torch.Generator().manual_seed(tokens[i]))
        rows.append(own + 0.3 * near)
    return torch.stack(rows) if rows else torch.zeros(0, WIDTH)


def read(sentences: list[list[int]]) -> States:
    """Sentences of one token, 3, are not readable."""
    rows = [states_of([] if row == [3] else row) for row in sentences]
    counts = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    padded = torch.full((len(rows), max([*counts.tolist(), 0]), WIDTH), 9.0)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return States(padded, counts, None)


def distiller(hypotheses: int = 3, beam: int = 40, **more: str) -> Distiller:
    conf = {"hypotheses": hypotheses, "beam": beam, "special_tokens": "keep", **more}
    block = DistillBlock("bert.yaml", "ctc", "cosine", match="nbest", match_conf=conf)
    facts = {"bert.yaml": TeacherFacts(WIDTH, None)}
    return build_distillers({"x": block}, {"ctc": TapShape(VOCABULARY, 40.0)}, facts)["x"]


def batch(lengths: list[tuple[int, int]], first: int = 0) -> tuple[States, States]:
    """Logits, and the states of random transcripts; ``first`` numbers the first utterance."""
    frames = torch.tensor([pair[0] for pair in lengths])
    logits = torch.full((len(lengths), int(frames.max()), VOCABULARY), 5.0)
    transcripts = []
    for i, (count, size) in enumerate(lengths):
        generator = torch.Generator().manual_seed(first + i)
        logits[i, :count] = 2 * torch.randn(count, VOCABULARY, generator=generator)
        tokens = torch.randint(1, VOCABULARY, (size,), generator=generator)
        transcripts.append(tokens.tolist())
    return States(logits, frames, 40.0), read(transcripts)


def term(lengths: list[tuple[int, int]], first: int = 0, **more) -> torch.Tensor:
    student, teacher = batch(lengths, first)
    return distiller(**more)(student, teacher.values, teacher.lengths, Context(read=read))


def score(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """BERTScore, the mean of recall and precision; 0 of a hypothesis without states."""
    if not len(ours):
        return torch.tensor(0.0)
    near = torch.cosine_similarity(ours.unsqueeze(1), theirs.unsqueeze(0), dim=-1)
    return (near.max(dim=0).values.mean() + near.max(dim=1).values.mean()) / 2


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(0, 10_000))
def test_the_term_is_the_expected_risk(frames: int, size: int, count: int, seed: int) -> None:
    student, teacher = batch([(frames, size)], seed)
    if not teacher.lengths[0]:
        return
    log_probs = student.values.log_softmax(dim=-1)
    found = prefix_beams(log_probs, student.lengths, count, 40)
    probabilities = path_scores(log_probs, student.lengths, found).softmax(dim=0)
    reference = teacher.values[0, : teacher.lengths[0]]
    given = read(found.tokens)
    scores = [score(given.values[i, :n], reference) for i, n in enumerate(given.lengths.tolist())]
    expected = (probabilities * (1 - torch.stack(scores))).sum()
    torch.testing.assert_close(term([(frames, size)], seed, hypotheses=count), expected)


@settings(deadline=None, max_examples=20)
@given(LENGTHS, st.sampled_from(["both", "recall", "precision"]))
def test_padding_changes_nothing_and_a_batch_is_the_mean(lengths, direction: str) -> None:
    student, teacher = batch(lengths)
    one = distiller(direction=direction)
    together = one(student, teacher.values, teacher.lengths, Context(read=read))
    wider = States(
        torch.nn.functional.pad(student.values, (0, 0, 0, 2), value=3.0), student.lengths, 40.0
    )
    padded = torch.nn.functional.pad(teacher.values, (0, 0, 0, 1), value=3.0)
    torch.testing.assert_close(one(wider, padded, teacher.lengths, Context(read=read)), together)
    heard = (student.lengths > 0) & (teacher.lengths > 0)
    alone = [term([pair], i, direction=direction) for i, pair in enumerate(lengths) if heard[i]]
    torch.testing.assert_close(together, torch.stack(alone).mean() if alone else together * 0)


def certain(tokens: list[int]) -> torch.Tensor:
    """Logits [1, T, V] whose best path is these tokens."""
    path = [token for one in tokens for token in (one, 0)]
    logits = torch.zeros(1, len(path), VOCABULARY)
    logits[0, range(len(path)), path] = 4.0
    return logits.requires_grad_()


def test_the_transcript_itself_has_no_risk_and_alone_no_gradient() -> None:
    logits, reference = certain([1, 2, 2]), read([[1, 2, 2]])
    risk = distiller(hypotheses=1)(
        States(logits, torch.tensor([6]), 40.0), reference.values, reference.lengths,
        Context(read=read),
    )  # fmt: skip
    torch.testing.assert_close(risk, torch.tensor(0.0), atol=1e-6, rtol=0)
    risk.backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-6, rtol=0)


def test_a_step_makes_better_hypotheses_likelier() -> None:
    logits, reference = certain([1, 3, 2]), read([[1, 2, 2]])
    lengths, one = torch.tensor([6]), distiller(hypotheses=40)
    before = one(
        States(logits, lengths, 40.0), reference.values, reference.lengths, Context(read=read)
    )
    before.backward()
    moved = (logits - 2.0 * logits.grad).detach()
    after = one(
        States(moved, lengths, 40.0), reference.values, reference.lengths, Context(read=read)
    )
    assert after < before - 0.001


def test_the_gradient_is_that_of_finite_differences() -> None:
    student, teacher = batch([(4, 3), (3, 2)], first=7)
    logits = student.values.requires_grad_()
    one = distiller(hypotheses=40)  # all there are: the list does not change

    def risk(values: torch.Tensor) -> torch.Tensor:
        return one(
            States(values, student.lengths, 40.0), teacher.values, teacher.lengths,
            Context(read=read),
        )  # fmt: skip

    (gradient,) = torch.autograd.grad(risk(logits), logits)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        way = torch.randn(logits.shape, generator=generator)
        with torch.no_grad():
            slope = (risk(logits + 0.01 * way) - risk(logits - 0.01 * way)) / 0.02
        torch.testing.assert_close((gradient * way).sum(), slope, atol=2e-4, rtol=1e-2)
    assert not bool(gradient[1, 3:].any())  # of padding


def test_accumulated_batches_are_one_batch() -> None:
    lengths = [(4, 3), (3, 2), (4, 1), (2, 2)]
    student, teacher = batch(lengths)
    one, grads = distiller(), []
    for parts in ([slice(0, 4)], [slice(0, 2), slice(2, 4)]):
        logits = student.values.clone().requires_grad_()
        for part in parts:
            risk = one(
                States(logits[part], student.lengths[part], 40.0), teacher.values[part],
                teacher.lengths[part], Context(read=read),
            )  # fmt: skip
            (risk / len(parts)).backward()
        grads.append(logits.grad)
    torch.testing.assert_close(*grads)


def test_the_order_of_hypotheses_does_not_matter() -> None:
    scores = torch.tensor([-900.0, -901.0, -3.0, -902.0, -2.0])
    owner = torch.tensor([0, 0, 1, 0, 1])
    found = renormalised(scores, owner, 3)
    order = torch.tensor([4, 2, 0, 3, 1])
    torch.testing.assert_close(renormalised(scores[order], owner[order], 3), found[order])
    torch.testing.assert_close(found[owner == 0], torch.tensor([0.0, -1.0, -2.0]).softmax(0))


def test_what_the_teacher_cannot_read_scores_nothing() -> None:
    logits, reference = certain([3]), read([[1, 2]])
    matcher = NBestMatcher(hypotheses=1, special_tokens="keep")
    student = States(logits, torch.tensor([2]), 40.0)
    pairs = matcher(student, reference, Context(read=read))
    assert not bool(pairs.student.any()) and pairs.shares == {"read": 0.0}
    risk = distiller(hypotheses=1)(student, reference.values, reference.lengths, Context(read=read))
    torch.testing.assert_close(risk, torch.tensor(1.0))


def test_special_tokens_are_dropped_by_default() -> None:
    logits, reference = certain([1, 2, 3]), read([[1, 2, 3]])
    pairs = NBestMatcher(hypotheses=1)(
        States(logits, torch.tensor([6]), 40.0), reference, Context(read=read)
    )
    torch.testing.assert_close(pairs.teacher, reference.values[0, [1, 1]])


def test_without_a_reader() -> None:
    student, teacher = batch([(3, 2)])
    with pytest.raises(ValueError, match="runs in the training step"):
        NBestMatcher()(student, teacher, Context())
    with pytest.raises(ValueError, match="needs a text teacher"):
        NBestMatcher().paired_width(5, 40.0, 20.0)


@pytest.mark.parametrize(
    "conf",
    [{"hypotheses": 0}, {"hypotheses": 9}, {"beam": 2}, {"direction": "up"},
     {"special_tokens": "some"}],
)  # fmt: skip
def test_arguments(conf: dict) -> None:
    with pytest.raises(ValueError, match=str(*conf)):
        NBestMatcher(**conf)
