"""Shrink matching against a plain loop, and its laws."""

from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.heads import HEADS, ProjectionHead
from distill_asr.distill.losses import LOSSES
from distill_asr.distill.matching.shrink import (
    INTERPOLATE,
    SPECIAL_TOKENS,
    UNITS,
    ShrinkMatcher,
    shrink,
)
from distill_asr.distill.states import Context, Pairs, States

BLANK, UNK, VOCABULARY = 3, 2, 6  # anything but ESPnet's own, so that ids must be heeded
IDS = {"blank": BLANK, "unk": UNK}
WIDTH, TEACHER_WIDTH = 2, 3


def batch(
    paths: list[list[int]], words: list[int], extra: int = 0, fill: float = 0.0, seed: int = 0
) -> tuple[States, States, Context]:
    """Utterances with a CTC path and a number of teacher positions, padded by ``extra`` more."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.tensor([len(path) for path in paths])
    positions = torch.tensor(words)
    size = len(paths)
    student = torch.full((size, int(frames.max()) + extra, WIDTH), fill)
    logits = torch.full((size, int(frames.max()) + extra, VOCABULARY), fill)
    teacher = torch.full((size, int(positions.max()) + extra, TEACHER_WIDTH), fill)
    for row, path in enumerate(paths):
        student[row, : len(path)] = torch.randn(len(path), WIDTH, generator=generator)
        teacher[row, : words[row]] = torch.randn(words[row], TEACHER_WIDTH, generator=generator)
        best = torch.nn.functional.one_hot(torch.tensor(path, dtype=torch.int64), VOCABULARY)
        noise = torch.rand(len(path), VOCABULARY, generator=generator)
        logits[row, : len(path)] = 2.0 * best + noise
    states = States(student, frames, 20.0)
    context = Context(taps={"ctc": States(logits, frames, 20.0)})
    return states, States(teacher, positions, None), context


def shrunk_by_hand(frames: list[list[float]], path: list[int], units: str) -> list[list[float]]:
    """The paper's rule with loops and lists."""
    runs, time = [], 0
    for token, members in groupby(path):
        length = len(list(members))
        run = frames[time : time + length]
        time += length
        if token in (BLANK, UNK):
            continue
        if units == "runs":
            runs.append([sum(column) / length for column in zip(*run, strict=True)])
        else:
            runs += run
    return frames if units == "all" or len(runs) < 2 else runs


def stretched_by_hand(words: Tensor, units: int, interpolate: str) -> Tensor:
    """Torch's own resampling, which is what the published code calls."""
    if len(words) == 0 or units == 0:
        return words[:0]
    options = {"align_corners": True} if interpolate == "linear" else {}
    stretch = torch.nn.functional.interpolate
    return stretch(words.T.unsqueeze(0), size=units, mode=interpolate, **options)[0].T


def same(one: Pairs, other: Pairs) -> bool:
    return (
        torch.equal(one.student, other.student)
        and torch.equal(one.teacher, other.teacher)
        and torch.equal(one.utterance, other.utterance)
    )


path_of_runs = st.lists(
    st.tuples(st.integers(0, VOCABULARY - 1), st.integers(1, 4)), min_size=0, max_size=8
).map(lambda runs: [token for token, length in runs for _ in range(length)])
utterances = st.lists(st.tuples(path_of_runs, st.integers(0, 9)), min_size=1, max_size=4)
any_options = st.fixed_dictionaries(
    {
        "units": st.sampled_from(UNITS),
        "interpolate": st.sampled_from(INTERPOLATE),
        "special_tokens": st.sampled_from(SPECIAL_TOKENS),
    }
)


@settings(deadline=None, max_examples=120)
@given(utterances, any_options, st.integers(0, 3))
def test_equals_the_plain_loop_whatever_the_padding(
    drawn: list[tuple[list[int], int]], options: dict, extra: int
) -> None:
    paths, words = [path for path, _ in drawn], [count for _, count in drawn]
    student, teacher, context = batch(paths, words, extra, fill=float("nan"))
    pairs = ShrinkMatcher(**options, **IDS)(student, teacher, context)
    expected_student, expected_teacher, expected_utterance = [], [], []
    for row, path in enumerate(paths):
        spoken = student.values[row, : len(path)].tolist()
        said = teacher.values[row, : words[row]]
        said = said[1:-1] if options["special_tokens"] == "drop" else said
        units = shrunk_by_hand(spoken, path, options["units"])
        if len(said):
            expected_student += units
            stretched = stretched_by_hand(said, len(units), options["interpolate"])
            expected_teacher += stretched.tolist()
            expected_utterance += [row] * len(units)
    wanted = torch.tensor(expected_student).reshape(-1, WIDTH)
    torch.testing.assert_close(pairs.student, wanted)
    wanted = torch.tensor(expected_teacher).reshape(-1, TEACHER_WIDTH)
    torch.testing.assert_close(pairs.teacher, wanted)
    assert pairs.utterance.tolist() == expected_utterance


@settings(deadline=None, max_examples=60)
@given(utterances, any_options, st.integers(1, 5))
def test_padding_changes_nothing(drawn: list, options: dict, extra: int) -> None:
    paths, words = [path for path, _ in drawn], [count for _, count in drawn]
    matcher = ShrinkMatcher(**options, **IDS)
    plain = matcher(*batch(paths, words))
    assert same(plain, matcher(*batch(paths, words, extra, fill=1e9)))


@settings(deadline=None, max_examples=60)
@given(utterances, any_options)
def test_a_batch_is_its_utterances(drawn: list, options: dict) -> None:
    paths, words = [path for path, _ in drawn], [count for _, count in drawn]
    matcher = ShrinkMatcher(**options, **IDS)
    student, teacher, context = batch(paths, words)
    together = matcher(student, teacher, context)
    for row, (path, count) in enumerate(drawn):
        one = [slice(row, row + 1), slice(0, len(path))]
        alone = matcher(
            States(student.values[tuple(one)], student.lengths[one[0]], 20.0),
            States(teacher.values[row : row + 1, :count], teacher.lengths[one[0]], None),
            Context(taps={"ctc": States(context.taps["ctc"].values[tuple(one)], None, None)}),
        )
        mine = together.utterance == row
        torch.testing.assert_close(together.student[mine], alone.student)
        assert torch.equal(together.teacher[mine], alone.teacher)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 120), st.integers(1, 300), st.sampled_from(INTERPOLATE))
def test_resampling_rounds_as_published(positions: int, units: int, interpolate: str) -> None:
    teacher = torch.arange(float(positions)).reshape(1, positions, 1)
    student = States(torch.zeros(1, units, 1), torch.tensor([units]), 20.0)
    matcher = ShrinkMatcher("all", interpolate)
    pairs = matcher(student, States(teacher, torch.tensor([positions]), None), Context())
    expected = stretched_by_hand(teacher[0], units, interpolate)
    torch.testing.assert_close(pairs.teacher, expected, rtol=0, atol=2e-4)
    if interpolate == "nearest":
        assert torch.equal(pairs.teacher, expected)


def test_rounding_where_float32_falls_short() -> None:
    # 41 * (2 / 82) is below 1 in float32, and so the published code takes position 0
    teacher = States(torch.tensor([[[0.0], [1.0]]]), torch.tensor([2]), None)
    student = States(torch.zeros(1, 82, 1), torch.tensor([82]), 20.0)
    assert ShrinkMatcher("all")(student, teacher, Context()).teacher[41].item() == 0.0


@pytest.mark.parametrize(
    ("path", "units"),
    [
        ([BLANK] * 5, [[0.0], [1.0], [2.0], [3.0], [4.0]]),  # blank only
        ([BLANK, 1, 1, BLANK], [[0.0], [1.0], [2.0], [3.0]]),  # one run
        ([0], [[0.0]]),  # one frame
        ([], []),  # no frame
        ([0, BLANK, 0], [[0.0], [2.0]]),  # the same letter on both sides of a blank
        ([0, UNK, 0, 0], [[0.0], [2.5]]),  # and of the unknown token
        ([0, 0, 1, 1, 1], [[0.5], [3.0]]),
    ],
)
def test_cases_by_hand(path: list[int], units: list[list[float]]) -> None:
    _, teacher, context = batch([path], [4])
    frames = torch.arange(float(len(path))).reshape(1, -1, 1)
    pairs = ShrinkMatcher(**IDS)(States(frames, torch.tensor([len(path)]), 20.0), teacher, context)
    assert pairs.student.tolist() == units
    assert len(pairs.teacher) == len(units)


def test_empty_text_gives_no_pairs_without_its_special_tokens() -> None:
    student, teacher, context = batch([[0, 1, 0], [0, 1]], [2, 3])
    assert set(ShrinkMatcher(**IDS)(student, teacher, context).utterance.tolist()) == {0, 1}
    dropping = ShrinkMatcher(special_tokens="drop", **IDS)
    pairs = dropping(student, teacher, context)
    assert pairs.utterance.tolist() == [1, 1]
    assert torch.equal(pairs.teacher, teacher.values[1, 1].expand(2, -1))


def test_ids_default_to_those_of_espnet() -> None:
    assert ShrinkMatcher().dropped == (0, 1)
    student, teacher, context = batch([[0, 4, 1, 5]], [2])
    pairs = ShrinkMatcher()(student, teacher, context)
    assert torch.equal(pairs.student, student.values[0, [1, 3]])


@pytest.mark.parametrize("units", UNITS)
def test_gradients_are_shared_by_the_frames_of_a_run(units: str) -> None:
    student, teacher, context = batch([[0, 0, 0, BLANK, 1], [BLANK, 4]], [3, 3], 2, float("nan"))
    student.values.requires_grad_()
    context.taps["ctc"].values.requires_grad_()
    ShrinkMatcher(units, **IDS)(student, teacher, context).student.sum().backward()
    third = 1 / 3
    expected = {"runs": [third, third, third, 0, 1], "frames": [1, 1, 1, 0, 1], "all": [1.0] * 5}
    assert student.values.grad[0, :5, 0].tolist() == pytest.approx(expected[units])
    assert student.values.grad[1, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0]  # too few units: frames
    assert context.taps["ctc"].values.grad is None, "the path is a constant"


def test_half_precision_states_are_averaged_in_float32() -> None:
    student, teacher, context = batch([[0] * 2000 + [1]], [2])
    values = torch.full((1, 2001, WIDTH), 60.0, dtype=torch.float16)
    pairs = ShrinkMatcher(**IDS)(States(values, student.lengths, 20.0), teacher, context)
    assert pairs.student.dtype == torch.float32
    assert pairs.student[0].tolist() == pytest.approx([60.0] * WIDTH)  # the sum overflows float16


def test_no_scalar_is_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One number a batch goes to the host, that of ``nonzero``; no ``item`` and no ``tolist``."""
    student, teacher, context = batch([[0, 1, 1], [BLANK, 4, 5]], [3, 2])
    asked: list[str] = []
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu"):
        original = getattr(Tensor, name)

        def spy(self: Tensor, *args: object, name=name, original=original) -> object:
            asked.append(name)
            return original(self, *args)

        monkeypatch.setattr(Tensor, name, spy)
    ShrinkMatcher(**IDS)(student, teacher, context)
    assert asked == []


class Transfers(TorchDispatchMode):
    """Counts what makes the host wait for a device: scalars read, and sizes that data decides."""

    KINDS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "repeat_interleave")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.KINDS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [1, 6])
def test_shrinking_waits_for_nothing_and_matching_once(size: int) -> None:
    student, teacher, context = batch([[0, 1, 1, BLANK, 2]] * size, [3] * size)
    path = context.taps["ctc"].values.argmax(dim=-1)
    with Transfers() as transfers:
        shrink(student.values, student.lengths, path, (BLANK, UNK))
    assert transfers.seen == []
    with Transfers() as transfers:
        ShrinkMatcher(**IDS)(student, teacher, context)
    assert transfers.seen == ["nonzero"], "the number of pairs"
    with Transfers() as transfers:
        student.lengths[0].item()
    assert transfers.seen == ["_local_scalar_dense"]


def test_without_ctc() -> None:
    student, teacher, _ = batch([[0, 1]], [2])
    with pytest.raises(ValueError, match="needs the student's CTC output"):
        ShrinkMatcher()(student, teacher, Context())
    assert len(ShrinkMatcher("all")(student, teacher, Context()).utterance) == 2


def test_codes_are_taken_as_they_are() -> None:
    student, teacher, context = batch([[0, 1, 0]], [2])
    codes = States(torch.tensor([[[7, 8], [9, 10]]]), teacher.lengths, None)
    pairs = ShrinkMatcher(**IDS)(student, codes, context)
    assert pairs.teacher.tolist() == [[7, 8], [7, 8], [9, 10]]
    with pytest.raises(ValueError, match="cannot mix codes"):
        ShrinkMatcher(interpolate="linear", **IDS)(student, codes, context)


def test_a_tap_of_another_rate() -> None:
    student, teacher, context = batch([[0, 1, 0, 1]], [2])
    halved = States(student.values[:, ::2], torch.tensor([2]), 40.0)
    with pytest.raises(ValueError, match="rate of the CTC output"):
        ShrinkMatcher()(halved, teacher, context)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"units": "words"}, "units"), ({"interpolate": "cubic"}, "interpolate"),
     ({"special_tokens": "no"}, "special_tokens")],
)  # fmt: skip
def test_bad_arguments(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ShrinkMatcher(**arguments)


# -- with losses and heads ------------------------------------------------------


def distiller(loss: str, head: torch.nn.Module, **options: object) -> Distiller:
    block = DistillBlock(teacher="t", tap="encoder", loss=loss, standardise=False, **options)
    return Distiller(block, ShrinkMatcher(**IDS), head, LOSSES[loss](), TeacherFacts(3, None))


@pytest.mark.parametrize("loss", ["mse", "cosine", "l1"])
def test_each_utterance_counts_once(loss: str) -> None:
    student, teacher, context = batch([[0, 1, 0, 1, 0, 1], [0, 1]], [3, 4])
    head = ProjectionHead(WIDTH, TEACHER_WIDTH)
    term = distiller(loss, head)(student, teacher.values, teacher.lengths, context)
    pairs = ShrinkMatcher(**IDS)(student, teacher, context)
    losses = LOSSES[loss]()(head(pairs.student), pairs.teacher)
    means = [losses[pairs.utterance == row].mean() for row in (0, 1)]
    torch.testing.assert_close(term, torch.stack(means).mean())
    term.backward()
    assert head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", ["mse", "cosine", "l1"])
def test_a_student_that_says_what_the_teacher_says(loss: str) -> None:
    student, teacher, context = batch([[0, 1, 0], [BLANK, BLANK]], [3, 2])
    spoken = States(teacher.values[:, :, :WIDTH], student.lengths, 20.0)
    alike = teacher.values[:, :, :WIDTH]
    same_width = distiller(loss, HEADS["identity"](WIDTH, WIDTH))
    term = same_width(spoken, alike, teacher.lengths, context)
    assert term.item() == pytest.approx(0.0, abs=1e-6)


def test_the_projection_is_born_as_published() -> None:
    head = ProjectionHead(200, 16)
    assert head.bias is None
    assert head.weight.abs().max().item() == pytest.approx(16**-0.5, rel=0.01)
    assert head.weight.std().item() == pytest.approx(16**-0.5 / 3**0.5, rel=0.05)
