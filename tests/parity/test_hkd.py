"""CIF and its distillation losses against the published numbers of arXiv 2301.13003."""

from __future__ import annotations

import pytest
import torch
from espnet2.asr.ctc import CTC
from torch import Tensor

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.contracts import Loss
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.losses import MSE, Contrastive
from distill_asr.distill.losses.contrastive import draw_negatives
from distill_asr.distill.matching.token import TokenMatcher
from distill_asr.distill.states import Context, States
from distill_asr.espnet.task import build_untrained
from distill_asr.models.cif import CifOutput, integrate_and_fire
from distill_asr.models.cif.weights import ConvWeights
from distill_asr.models.students.cif import cross_entropy_sums
from distill_asr.testing.fixtures import tiny_config

ATOL = {torch.float64: 1e-10, torch.float32: 1e-5}  # of the suggested tolerances
each_precision = pytest.mark.parametrize("dtype", list(ATOL), ids=["float64", "float32"])


def tensor(values: list, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def as_published(
    hidden: Tensor,
    alpha: Tensor,
    lengths: Tensor,
    targets: Tensor | None,
    threshold: float = 0.99,
    tail_threshold: float = 0.5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Our tokens with the three intended differences undone: states, mask, quantity.

    In the published code an utterance without padding has no tail, a fire may come as late as on
    the first padded frame, and where nothing fires there is one zero vector, marked as valid.
    """
    frames = alpha.size(1)
    alpha = alpha.masked_fill(torch.arange(frames) >= lengths.unsqueeze(1), 0.0)
    if targets is None:
        no_tail = integrate_and_fire(hidden, alpha, lengths, None, threshold, float("inf"))
        found = integrate_and_fire(hidden, alpha, lengths, None, threshold, tail_threshold)
        counts = torch.where(lengths == frames, no_tail.lengths, found.lengths)
    else:
        reach = (lengths + 1).clamp(max=frames)
        found = integrate_and_fire(hidden, alpha, reach, targets, threshold)
        counts = found.lengths
    counts = counts.clamp(min=1)
    mask = torch.arange(int(counts.max())) < counts.unsqueeze(1)
    states = hidden.new_zeros(*mask.shape, hidden.size(-1))
    shared = min(mask.size(1), found.states.size(1))
    states[:, :shared] = found.states[:, :shared]
    return states.masked_fill(~mask.unsqueeze(-1), 0.0), mask.long(), found.quantity


def check(found: tuple[Tensor, Tensor, Tensor], case: dict, dtype: torch.dtype) -> None:
    states, mask, quantity = found
    assert mask.tolist() == case["mask"]
    torch.testing.assert_close(states, tensor(case["cif_out"], dtype), atol=ATOL[dtype], rtol=0)
    torch.testing.assert_close(quantity, tensor(case["quantity"], dtype), atol=ATOL[dtype], rtol=0)


@each_precision
def test_coefficients(parity, dtype: torch.dtype) -> None:
    cases = parity("hkd")["cif_identity"]
    assert cases
    for case in cases:
        alpha = tensor(case["alpha"], dtype)
        batch, frames = alpha.shape
        hidden = torch.eye(frames, dtype=dtype).expand(batch, -1, -1)
        lengths = torch.tensor(case["lengths"] or [frames] * batch)
        targets = torch.tensor(case["target_lengths"]) if case["training"] else None
        limits = case["threshold"], case["tail_threshold"]
        check(as_published(hidden, alpha, lengths, targets, *limits), case, dtype)


@each_precision
def test_training_and_its_gradients(parity, dtype: torch.dtype) -> None:
    case = parity("hkd")["cif_random_train"]
    logits = tensor(case["alpha_logit"], dtype).requires_grad_()
    hidden = tensor(case["h"], dtype).requires_grad_()
    lengths, targets = torch.tensor(case["lengths"]), torch.tensor(case["target_lengths"])
    found = as_published(hidden, torch.sigmoid(logits), lengths, targets)
    check(found, case, dtype)
    (found[0] * tensor(case["grad_seed"], dtype)).sum().backward()
    for grad, name in ((logits.grad, "grad_alpha_logit"), (hidden.grad, "grad_h")):
        torch.testing.assert_close(grad, tensor(case[name], dtype), atol=ATOL[dtype], rtol=0)


@each_precision
def test_inference(parity, dtype: torch.dtype) -> None:
    given, case = parity("hkd")["cif_random_train"], parity("hkd")["cif_random_eval"]
    alpha = torch.sigmoid(tensor(given["alpha_logit"], dtype))
    lengths = torch.tensor(given["lengths"])
    check(as_published(tensor(given["h"], dtype), alpha, lengths, None), case, dtype)


@each_precision
def test_weights_of_a_convolution(parity, dtype: torch.dtype) -> None:
    case = parity("hkd")["cif_conv_predictor"]
    hidden = tensor(case["h"], dtype)
    predictor = ConvWeights(hidden.size(-1)).to(dtype).eval()
    for parameter, name in (
        (predictor.conv.weight, "conv_weight"),
        (predictor.conv.bias, "conv_bias"),
        (predictor.project.weight, "proj_weight"),
        (predictor.project.bias, "proj_bias"),
    ):
        parameter.data.copy_(tensor(case[name]))
    lengths = torch.full((hidden.size(0),), hidden.size(1))
    found: CifOutput = integrate_and_fire(hidden, predictor(hidden, lengths), lengths)
    count = len(case["cif_out"][0])
    for ours, name in ((found.states[:, :count], "cif_out"), (found.quantity, "quantity")):
        torch.testing.assert_close(ours, tensor(case[name], dtype), atol=ATOL[dtype], rtol=0)


# -- losses -----------------------------------------------------------------------------

LOSS_ATOL = {torch.float64: 1e-4, torch.float32: 1e-3}  # float32 in the published code
GRAD_RTOL = {torch.float64: 1e-6, torch.float32: 1e-5}  # of the largest entry


@each_precision
def test_contrastive(parity, dtype: torch.dtype) -> None:
    for case in parity("hkd")["akd"]:
        valid = torch.tensor(case["mask"]).bool()
        student = tensor(case["student"], dtype).requires_grad_()
        teacher = tensor(case["teacher"], dtype)[valid]
        loss = Contrastive(case["tau"], case["K"], mask_positive=case["remove_self"])
        ids = torch.tensor(case["neg_ids"])
        assert draw_negatives(len(teacher), case["K"], teacher.device).shape == ids.shape
        found = loss(student[valid], teacher, negative_ids=ids)
        expected = tensor(case["loss_per_token"], dtype)
        torch.testing.assert_close(found, expected, atol=LOSS_ATOL[dtype], rtol=0)
        found.sum().backward()
        grad = tensor(case["grad_student"], dtype)
        torch.testing.assert_close(
            student.grad, grad, atol=GRAD_RTOL[dtype] * float(grad.abs().max()), rtol=0
        )


class Injected(Loss):
    """A contrastive loss whose negatives are given."""

    def __init__(self, loss: Contrastive, negative_ids: Tensor) -> None:
        super().__init__()
        self.loss, self.negative_ids = loss, negative_ids

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(student, teacher, negative_ids=self.negative_ids)


LEVELS = {
    "acoustic": ("cif_contrastive_dis_cos_loss", "proj_cif"),
    "linguistic": ("dec_state_dis_loss", "proj_dec_state"),
}
each_level = pytest.mark.parametrize("level", LEVELS)


def level_term(case: dict, level: str, dtype: torch.dtype) -> float:
    """One level as its distiller gives it, a mean over tokens."""
    given, tap = case["inputs"], LEVELS[level][1]
    counts = torch.tensor(given["cif_mask"]).sum(dim=1)
    teacher = tensor(given["bert_with_cls_sep"], dtype)
    acoustic = Injected(Contrastive(0.02, 700), torch.tensor(case["neg_ids"]))
    distiller = Distiller(
        DistillBlock("bert", tap, level, reduce="pair", standardise=False),
        TokenMatcher(),
        torch.nn.Identity(),
        acoustic if level == "acoustic" else MSE("sum"),
        TeacherFacts(teacher.size(-1), None),
    )
    student = States(tensor(given[tap], dtype), counts, None)
    return distiller(student, teacher, counts + 1, Context()).item()  # [CLS] comes on top


@each_precision
@each_level
def test_levels_through_their_distillers(parity, level: str, dtype: torch.dtype) -> None:
    case = parity("hkd")["hkd_total"]
    published = case["components"][LEVELS[level][0]] / case["sample_size"]
    assert level_term(case, level, dtype) == pytest.approx(published, abs=LOSS_ATOL[dtype])


# -- the criterion ------------------------------------------------------------------------

SUM_ATOL = {torch.float64: 1e-9, torch.float32: 1e-5}


@each_precision
def test_label_smoothing(parity, dtype: torch.dtype) -> None:
    case = parity("hkd")["label_smoothing"]
    target = torch.tensor(case["target"])
    lengths = (target != case["pad"]).sum(dim=1)
    found = cross_entropy_sums(tensor(case["logp"], dtype), target, lengths, case["eps"])
    for ours, name in zip(found, ("loss", "nll"), strict=False):
        assert ours.item() == pytest.approx(case[name], abs=SUM_ATOL[dtype])


def own_sums(case: dict, dtype: torch.dtype) -> dict[str, Tensor]:
    """What the student sums up by itself."""
    given = case["inputs"]
    target, lengths = torch.tensor(given["target"]), torch.tensor(given["target_lengths"])
    logits = tensor(given["decoder_logits"], dtype)
    entropy, likelihood, _ = cross_entropy_sums(logits, target, lengths, 0.1)
    ctc_logits = tensor(given["ctc_logits"], dtype)
    ctc = CTC(ctc_logits.size(-1), ctc_logits.size(-1), zero_infinity=False)
    ctc.ctc_lo = torch.nn.Identity()
    labels = target.masked_fill(target == given["pad"], -1)
    mean = ctc(ctc_logits, torch.tensor(given["enc_lengths"]), labels, lengths)
    quantity = (tensor(given["alpha_sums"], dtype) - lengths).abs().sum()
    sums = {"ce": entropy, "quantity": quantity, "ctc": mean * len(labels)}
    return sums | {"nll": likelihood}


@each_precision
def test_components(parity, dtype: torch.dtype) -> None:
    case = parity("hkd")["hkd_total"]
    sums, published = own_sums(case, dtype), case["components"]
    names = {"nll": "ce_loss", "quantity": "quantity_loss", "ctc": "ctc_loss"}
    for name, theirs in names.items():
        # ESPnet's CTC works in float32
        atol = 1e-5 if name == "ctc" else SUM_ATOL[dtype]
        assert sums[name].item() == pytest.approx(published[theirs], abs=atol), name


def test_total(parity) -> None:
    """Everything together, with the student's own factors and those of the recipe."""
    case = parity("hkd")["hkd_total"]
    config = tiny_config("ctc", decoder="cif_nar", decoder_conf={}, model_conf={})
    student = build_untrained(config | {"model": "cif"})
    sums = {k: v for k, v in own_sums(case, torch.float64).items() if k != "nll"}
    tokens, weights = case["sample_size"], case["lambdas"]
    total = student.weighted(sums).item() / tokens
    total += weights["akd"] * level_term(case, "acoustic", torch.float64)
    total += weights["lrd"] * level_term(case, "linguistic", torch.float64)
    assert total == pytest.approx(case["loss_sum"] / tokens, abs=1e-4)
