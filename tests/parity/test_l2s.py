"""Distill-L2S: our matcher, loss and reduction against the published numbers."""

import pytest
import torch
from torch.nn import functional

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.heads import ProjectionHead
from distill_asr.distill.losses import MSE
from distill_asr.distill.matching.shrink import ShrinkMatcher
from distill_asr.distill.states import Context, States


def cases(parity, prefix: str) -> dict:
    """Entries of the file by name; at least one, or the comparison says nothing."""
    found = {name: case for name, case in parity("l2s").items() if name.startswith(prefix)}
    assert found
    return found


def ids(vocabulary: int) -> dict[str, int]:
    """The published code guesses both from the size of the vocabulary."""
    return {"blank": vocabulary - 1, "unk": vocabulary - 2}


def frame_numbers(count: int) -> States:
    return States(torch.arange(float(count)).reshape(1, count, 1), torch.tensor([count]), 20.0)


def test_shrink(parity) -> None:
    for name, examples in cases(parity, "shrink_V").items():
        vocabulary = int(name.removeprefix("shrink_V"))
        matcher = ShrinkMatcher(**ids(vocabulary))
        for example in examples:
            path = torch.tensor(example["argmax"]).unsqueeze(0)
            logits = functional.one_hot(path, vocabulary).float()
            context = Context(taps={"ctc": States(logits, torch.tensor([path.size(1)]), 20.0)})
            student = frame_numbers(path.size(1))
            pairs = matcher(student, frame_numbers(3), context)
            assert pairs.student.flatten().tolist() == pytest.approx(example["out"])


@pytest.mark.parametrize(
    ("mode", "key"), [("nearest", "nearest"), ("linear", "linear_align_corners")]
)
def test_interpolation(parity, mode: str, key: str) -> None:
    for name, examples in cases(parity, "interp_L").items():
        teacher = frame_numbers(int(name.removeprefix("interp_L")))
        for example in examples:
            matcher = ShrinkMatcher("all", mode)
            pairs = matcher(frame_numbers(example["S"]), teacher, Context())
            assert pairs.teacher.flatten().tolist() == pytest.approx(example[key], abs=1e-5)


def term_of(case: dict) -> torch.Tensor:
    """Our distillation term for a published forward."""
    student, adapter = torch.tensor(case["student_h"]), torch.tensor(case["adapter"])
    teacher = torch.tensor(case["teacher_h"])
    mode = case["interpolation"]
    units = "runs" if mode["shrink"] else "frames" if mode["filter_out_pad"] else "all"
    assert case["blank"] == ids(case["V"])["blank"]
    matcher = ShrinkMatcher(units, mode["mode"], **ids(case["V"]))
    head = ProjectionHead(*adapter.shape)
    head.weight.data = adapter.T
    options = DistillBlock(
        teacher="t", tap="encoder", loss="mse", match="shrink", standardise=False
    )
    facts = TeacherFacts(teacher.size(-1), None)
    distiller = Distiller(options, matcher, head, MSE(), facts)
    frames = torch.tensor(case["frame_lengths"])
    context = Context(taps={"ctc": States(torch.tensor(case["logits"]), frames, 20.0)})
    positions = torch.tensor(case["teacher_mask"]).sum(dim=1)
    return distiller(States(student, frames, 20.0), teacher, positions, context)


def test_feature_loss(parity) -> None:
    for name, case in cases(parity, "forward_").items():
        published = case["feat_loss_sum_over_batch"] / len(case["frame_lengths"])
        assert term_of(case).item() == pytest.approx(published, abs=1e-5), name


def test_total_loss(parity) -> None:
    """CTC is divided by each utterance's number of labels, which decides what a weight means."""
    for name, case in cases(parity, "forward_").items():
        labels = torch.tensor(case["labels"])
        ctc = functional.ctc_loss(
            torch.tensor(case["logits"]).log_softmax(dim=-1).transpose(0, 1),
            labels[labels >= 0],
            torch.tensor(case["frame_lengths"]),
            (labels >= 0).sum(dim=1),
            blank=case["blank"],
            reduction="mean",
        )
        assert ctc.item() == pytest.approx(case["ctc_mean"], rel=1e-5), name
        total = ctc + case["lam"] * term_of(case)
        assert total.item() == pytest.approx(case["total"], rel=1e-5), name


def test_the_projection_starts_within_the_published_bound(parity) -> None:
    for name, case in cases(parity, "forward_").items():
        adapter = torch.tensor(case["adapter"])
        ours = ProjectionHead(*adapter.shape).weight
        bound = adapter.size(1) ** -0.5
        assert adapter.abs().max() <= bound, name
        assert ours.abs().max() <= bound
        assert ours.std().item() == pytest.approx(adapter.std().item(), rel=0.2), name
