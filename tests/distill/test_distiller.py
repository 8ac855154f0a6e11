"""One distillation term, against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.build import REGISTRIES, build_distillers, find_class
from distill_asr.distill.contracts import Loss
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.heads import HEADS, IdentityHead, LinearHead, MLPHead
from distill_asr.distill.losses import L1, Cosine
from distill_asr.distill.matching import FrameMatcher, TokenMatcher
from distill_asr.distill.states import Context, Pairs, States, TapShape
from distill_asr.errors import UserError
from distill_asr.testing.codebooks import random_codebooks

OPTIONS = DistillBlock(teacher="t", tap="encoder", loss="l1", head="identity")
FACTS = TeacherFacts(width=1, step_ms=40.0)


def distiller(
    options: DistillBlock = OPTIONS, facts: TeacherFacts = FACTS, head: nn.Module | None = None
) -> Distiller:
    return Distiller(options, FrameMatcher(), head or nn.Identity(), L1(), facts)


def student(values: list[list[float]], lengths: list[int]) -> States:
    """Width 1 at 40 ms, values as rows of equal length."""
    return States(torch.tensor(values).unsqueeze(-1), torch.tensor(lengths), 40.0)


def targets(values: list[list[float]]) -> Tensor:
    return torch.tensor(values).unsqueeze(-1)


# utterance 0: errors 1, 2, 3; utterance 1: error 10, the rest is padding
HEARD = student([[1.0, 2.0, 3.0], [10.0, 77.0, 77.0]], [3, 1])
SAID = targets([[0.0, 0.0, 0.0], [0.0, -55.0, -55.0]])
SAID_LENGTHS = torch.tensor([3, 1])


def test_mean_over_pairs() -> None:
    term = distiller(replace(OPTIONS, reduce="pair"))(HEARD, SAID, SAID_LENGTHS, Context())
    assert term.item() == pytest.approx((1 + 2 + 3 + 10) / 4)


def test_mean_over_utterances() -> None:
    term = distiller()(HEARD, SAID, SAID_LENGTHS, Context())
    assert term.item() == pytest.approx(((1 + 2 + 3) / 3 + 10) / 2)


@pytest.mark.parametrize(
    ("reduce", "expected"), [("utterance", (2.0 + 3.0) / 2), ("pair", (1 + 2 + 3 + 3) / 4)]
)
def test_utterances_without_targets_count_nowhere(reduce: str, expected: float) -> None:
    heard = student([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0], [3.0, 0.0, 0.0]], [3, 3, 1])
    lengths = torch.tensor([3, 0, 1])
    term = distiller(replace(OPTIONS, reduce=reduce))(
        heard, torch.zeros(3, 3, 1), lengths, Context()
    )
    assert term.item() == pytest.approx(expected)


def test_only_chosen_utterances_count() -> None:
    for chosen, expected in [([True, False], 2.0), ([False, True], 10.0), ([True, True], 6.0)]:
        term = distiller()(HEARD, SAID, SAID_LENGTHS, Context(), torch.tensor(chosen))
        assert term.item() == pytest.approx(expected)


@pytest.mark.parametrize("reduce", ["pair", "utterance"])
@pytest.mark.parametrize("nothing", ["no targets", "none chosen"])
def test_nothing_to_pair_is_zero_with_a_way_to_head_and_student(reduce: str, nothing: str) -> None:
    head = LinearHead(2, 3)
    heard = States(torch.randn(2, 4, 2, requires_grad=True), torch.tensor([4, 4]), 40.0)
    options = replace(OPTIONS, reduce=reduce)
    term = distiller(options, TeacherFacts(3, 40.0), head)(
        heard,
        torch.randn(2, 4, 3),
        torch.tensor([0, 0] if nothing == "no targets" else [4, 4]),
        Context(),
        None if nothing == "no targets" else torch.tensor([False, False]),
    )
    assert term.shape == ()
    assert term.item() == 0.0
    term.backward()
    for given in [*head.parameters(), heard.values]:
        assert given.grad is not None
        assert not given.grad.any()


@pytest.mark.parametrize("reduce", ["pair", "utterance"])
@pytest.mark.parametrize("fill", [0.0, 1e30, float("nan")])
def test_padding_changes_nothing(reduce: str, fill: float) -> None:
    torch.manual_seed(0)
    term = distiller(replace(OPTIONS, reduce=reduce), TeacherFacts(3, 40.0), LinearHead(2, 3))
    values, said = torch.randn(2, 5, 2), torch.randn(2, 5, 3)
    lengths = torch.tensor([5, 2])
    plain = term(States(values, lengths, 40.0), said, lengths, Context())
    values, said = (nn.functional.pad(x, (0, 0, 0, 4), value=fill) for x in (values, said))
    values[1, 2:], said[1, 2:] = fill, fill
    values.requires_grad_()
    padded = term(States(values, lengths, 40.0), said, lengths, Context())
    torch.testing.assert_close(padded, plain)
    padded.backward()
    assert not values.grad[1, 2:].any()
    assert bool(torch.isfinite(values.grad).all())


def test_order_of_the_batch_changes_nothing() -> None:
    order = [1, 0]
    swapped = States(HEARD.values[order], HEARD.lengths[order], 40.0)
    term = distiller()(swapped, SAID[order], SAID_LENGTHS[order], Context())
    torch.testing.assert_close(term, distiller()(HEARD, SAID, SAID_LENGTHS, Context()))


def test_targets_are_brought_to_mean_zero_and_deviation_one() -> None:
    facts = TeacherFacts(1, 40.0, mean=torch.tensor([5.0]), std=torch.tensor([2.0]))
    said = targets([[7.0, 5.0, 1.0]])  # standardised 1, 0, -2
    arguments = (student([[0.0, 0.0, 0.0]], [3]), said, torch.tensor([3]), Context())
    assert distiller(facts=facts)(*arguments).item() == pytest.approx(1.0)
    raw = distiller(replace(OPTIONS, standardise=False), facts)
    assert raw(*arguments).item() == pytest.approx(13 / 3)
    assert raw.mean is None and raw.std is None
    assert distiller()(*arguments).item() == pytest.approx(13 / 3), "no statistics, no change"


def test_statistics_are_of_teacher_frames_before_they_are_joined() -> None:
    facts = TeacherFacts(1, 20.0, mean=torch.tensor([1.0]), std=torch.tensor([2.0]))
    term = distiller(facts=facts, head=nn.Linear(1, 2))
    for parameter in term.head.parameters():
        nn.init.zeros_(parameter)
    said = targets([[3.0, -5.0]])  # standardised 1, -3, one student frame of width 2
    assert term(student([[9.0]], [1]), said, torch.tensor([2]), Context()).item() == 2.0


def test_statistics_follow_the_device_but_not_the_checkpoint() -> None:
    facts = TeacherFacts(1, 40.0, mean=torch.tensor([5.0]), std=torch.tensor([2.0]))
    term = distiller(facts=facts, head=LinearHead(1, 1))
    assert set(term.state_dict()) == {"head.weight", "head.bias"}
    assert {name for name, _ in term.named_buffers()} == {"mean", "std"}
    assert set(dict(term.named_parameters())) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_whatever_the_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mean, std = torch.full((3,), 300.0), torch.full((3,), 50.0)
    term = distiller(facts=TeacherFacts(3, 40.0, mean, std), head=LinearHead(2, 3))
    lengths = torch.tensor([4])
    values = torch.randn(1, 4, 2).to(dtype)  # as an encoder under autocast gives them
    said = 300 + 50 * torch.randn(1, 4, 3)
    plain = term(States(values.float(), lengths, 40.0), said, lengths, Context())
    seen = []
    term.loss.register_forward_hook(lambda _, args, out: seen.extend([*args, out]))
    with torch.autocast("cpu", dtype=dtype):
        cast = term(States(values, lengths, 40.0), said, lengths, Context())
    assert {tensor.dtype for tensor in seen} == {torch.float32}
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_half_precision_targets_are_standardised_in_float32() -> None:
    facts = TeacherFacts(1, 40.0, mean=torch.tensor([1000.0]), std=torch.tensor([0.25]))
    said = targets([[1000.5]]).half()
    term = distiller(facts=facts)(student([[0.0]], [1]), said, torch.tensor([1]), Context())
    assert term.item() == 2.0


def test_lengths_that_do_not_fit_name_the_utterance() -> None:
    with pytest.raises(UserError, match="anna-1: 9 student frames, 1 from"):
        distiller()(student([[0.0] * 9], [9]), targets([[0.0]]), torch.tensor([1]),
                    Context(["anna-1"]))  # fmt: skip


def test_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="'max'"):
        distiller(replace(OPTIONS, reduce="max"))


def test_the_loss_is_told_the_tokens_of_the_pairs_that_count() -> None:
    facts = TeacherFacts(2, None, texts={"u": "a b", "v": "c"})
    term = distiller(replace(OPTIONS, match="token"), facts)
    seen: dict[str, list] = {}

    class Noting(TokenMatcher):
        def forward(self, student: States, teacher: States, context: Context) -> Pairs:
            seen["texts"] = context.texts
            return super().forward(student, teacher, context)

    class Asking(Loss):
        needs_tokens = True

        def forward(self, student: Tensor, teacher: Tensor, tokens: Tensor) -> Tensor:
            seen["tokens"] = tokens.tolist()
            return (student - teacher).square().sum(dim=1)

    term.loss = Asking()
    term.matcher = Noting()
    term.matcher.reads_text = True
    context = Context(["v", "u"], token_ids=torch.tensor([[4, 9, -1], [5, 6, 9]]))
    states = States(torch.zeros(2, 3, 2), torch.tensor([2, 3]), None)
    chosen = torch.tensor([False, True])
    term(states, torch.zeros(2, 4, 2), torch.tensor([3, 4]), context, chosen)
    assert seen == {"tokens": [5, 6, 9], "texts": ["c", "a b"]}


# -- heads ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(HEADS))
def test_heads_bring_the_width(name: str) -> None:
    width = 4 if name == "identity" else 6
    assert HEADS[name](4, width)(torch.randn(3, 4)).shape == (3, width)


def test_identity_head_needs_equal_widths() -> None:
    with pytest.raises(ValueError, match="the tap has 4 and the teacher 6"):
        IdentityHead(4, 6)


def test_hidden_width_of_the_mlp_head() -> None:
    assert [tuple(p.shape) for p in MLPHead(4, 6, 9).parameters()] == [(9, 4), (9,), (6, 9), (6,)]
    assert next(MLPHead(4, 6).parameters()).shape == (6, 4)


# -- building ------------------------------------------------------------------


class Distance(nn.PairwiseDistance, Loss):
    """A loss of torch's own, by a line."""


def test_names_become_objects_of_the_right_size() -> None:
    blocks = {
        "joined": DistillBlock("w", "encoder", "l1", loss_conf={"reduce_dim": "sum"}),
        "mean": DistillBlock(
            "w", "encoder:1", f"{__name__}.Distance", head="mlp", head_conf={"hidden_size": 5},
            match_conf={"reduction": "average"},
        ),
    }  # fmt: skip
    taps = {"encoder": TapShape(8, 40.0), "encoder:1": TapShape(6, 60.0)}
    built = build_distillers(blocks, taps, {"w": TeacherFacts(10, 20.0)})
    assert list(built) == ["joined", "mean"]
    assert built["joined"].head.weight.shape == (20, 8)
    assert built["joined"].loss.reduce_dim == "sum"
    assert [layer.out_features for layer in built["mean"].head.layers[::2]] == [5, 10]
    assert isinstance(built["mean"].loss, nn.PairwiseDistance)


def test_rates_that_do_not_fit_are_found_at_building() -> None:
    blocks = {"x": DistillBlock("w", "encoder", "l1")}
    with pytest.raises(UserError, match=r"distill.x: .*not a whole multiple"):
        build_distillers(blocks, {"encoder": TapShape(8, 30.0)}, {"w": TeacherFacts(10, 20.0)})


def test_find_class() -> None:
    assert find_class("loss", "cosine") is Cosine
    assert find_class("loss", "distill_asr.distill.losses.Cosine") is Cosine
    for name, said in (
        ("cosin", "did you mean 'cosine'"),
        ("MyLoss", "allowed: codebook, .*, or the dotted path of your own"),
        ("no_such_package.Loss", "cannot be imported .ModuleNotFoundError.*PYTHONPATH=FOLDER"),
        ("distill_asr.distill.losses.Nothing", "cannot be imported .AttributeError"),
        ("torch.nn.L1Loss", "is not a Loss; derive it from distill_asr.distill.contracts.Loss"),
        ("math.pi", "is not a class"),
    ):
        with pytest.raises(ValueError, match=said):
            find_class("loss", name)
    assert set(REGISTRIES) == {"loss", "match", "head"}


# -- codes ---------------------------------------------------------------------

BOOKS = random_codebooks(width=6, count=4)
CODED = TeacherFacts(6, 20.0, torch.full((6,), 5.0), torch.full((6,), 2.0), BOOKS)


def coded(loss: str, tap_ms: float = 40.0, **options: object) -> Distiller:
    blocks = {"x": DistillBlock("w", "encoder", loss, **options)}
    torch.manual_seed(0)
    return build_distillers(blocks, {"encoder": TapShape(8, tap_ms)}, {"w": CODED})["x"]


def codes(batch: int = 2, frames: int = 6) -> Tensor:
    return torch.randint(256, (batch, frames, 4), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("tap_ms", "width"), [(20.0, 4 * 256), (40.0, 2 * 4 * 256)])
def test_the_head_names_the_codes_of_every_teacher_frame(tap_ms: float, width: int) -> None:
    term = coded("codebook", tap_ms)
    assert term.head.out_features == width
    assert term.mean is None, "codes are not standardised"
    heard = States(torch.randn(2, 6, 8), torch.tensor([3, 2]), tap_ms)
    lengths = torch.tensor([3, 2]) * round(tap_ms / 20)
    value = term(heard, codes(), lengths, Context())
    assert value.item() == pytest.approx(math.log(256), rel=0.1), "an untrained head knows nothing"


def test_codes_of_two_frames_are_joined_in_order() -> None:
    term = coded("codebook")
    said = codes(1, 4)
    logits = 100.0 * nn.functional.one_hot(said, 256).float()  # [1, 4, 4, 256]
    term.head = nn.Identity()
    heard = States(logits.reshape(1, 2, 2 * 4 * 256), torch.tensor([2]), 40.0)
    assert term(heard, said, torch.tensor([4]), Context()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", ["codebook", "l1"])
@pytest.mark.parametrize("fill", [-1, 255])
def test_padded_codes_change_nothing(loss: str, fill: int) -> None:
    term, lengths = coded(loss), torch.tensor([6, 4])
    heard = States(torch.randn(2, 3, 8), torch.tensor([3, 2]), 40.0)
    plain = term(heard, codes(), lengths, Context())
    padded = nn.functional.pad(codes(), (0, 0, 0, 5), value=fill)
    padded[1, 4:] = fill
    torch.testing.assert_close(term(heard, padded, lengths, Context()), plain)


def test_a_loss_on_vectors_gets_decoded_codes_standardised() -> None:
    term, plain = coded("l1"), coded("l1")
    plain._decoder = None
    heard = States(torch.randn(2, 3, 8), torch.tensor([3, 2]), 40.0)
    decoded = torch.stack([torch.from_numpy(BOOKS.decode(row.numpy())) for row in codes()])
    lengths = torch.tensor([6, 5])
    torch.testing.assert_close(
        term(heard, codes(), lengths, Context()), plain(heard, decoded, lengths, Context())
    )
    assert term.mean is not None


@pytest.mark.parametrize("loss", ["codebook", "l1"])
def test_a_batch_without_any_codes_is_zero_with_a_gradient(loss: str) -> None:
    term = coded(loss)
    heard = States(torch.randn(2, 3, 8, requires_grad=True), torch.tensor([3, 2]), 40.0)
    nothing = torch.zeros(2, 0, 4, dtype=torch.int64)
    value = term(heard, nothing, torch.tensor([0, 0]), Context())
    value.backward()
    assert value.item() == 0.0 and not heard.values.grad.any()
    assert all(parameter.grad is not None for parameter in term.parameters())


def test_codebooks_are_no_part_of_a_checkpoint() -> None:
    assert set(coded("l1").state_dict()) == {"head.weight", "head.bias"}
    assert {name for name, _ in coded("l1").named_buffers()} == {"mean", "std"}


# -- alternatives, sums, posteriors --------------------------------------------------


def test_sum_over_an_utterance() -> None:
    term = distiller(replace(OPTIONS, reduce="sum"))(HEARD, SAID, SAID_LENGTHS, Context())
    assert term.item() == pytest.approx(((1 + 2 + 3) + 10) / 2)


def test_posteriors_are_not_standardised_and_have_no_head() -> None:
    options = DistillBlock(teacher="t", tap="ctc", match="ctc", loss="kl")
    facts = TeacherFacts(4, 40.0, mean=torch.full((4,), 3.0), std=torch.full((4,), 2.0))
    made = build_distillers({"x": options}, {"ctc": TapShape(4, 40.0)}, {"t": facts})["x"]
    assert isinstance(made.head, IdentityHead) and made.mean is None
    said = torch.randn(2, 3, 4).log_softmax(-1)
    lengths = torch.tensor([3, 2])
    same = made(States(said + 1.0, lengths, 40.0), said, lengths, Context())
    assert same.item() == pytest.approx(0.0, abs=1e-6)


def test_half_precision_targets_count_in_float32() -> None:
    said = SAID.half()
    term = distiller(replace(OPTIONS, standardise=False))(HEARD, said, SAID_LENGTHS, Context())
    assert term.dtype == torch.float32
    assert term.item() == pytest.approx(((1 + 2 + 3) / 3 + 10) / 2)
