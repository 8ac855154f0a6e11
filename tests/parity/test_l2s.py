"""The regression of Distill-L2S: our loss and reduction against the published numbers."""

import pytest
import torch

from distill_asr.distiller import Distiller, DistillerOptions, TeacherFacts
from distill_asr.losses import MSE
from distill_asr.states import Pairs, States

# the published code resamples the teacher to the student's length before the loss
ENTRIES = {"forward_nearest_nofilter": "nearest", "forward_linear_nofilter": "linear"}


class Resample:
    """Published resampling, written with torch's own interpolation."""

    def __init__(self, mode: str) -> None:
        self.options = {"mode": mode} | ({"align_corners": True} if mode == "linear" else {})

    def __call__(self, student: States, teacher: States, context: object) -> Pairs:
        pieces = []
        for i, (frames, words) in enumerate(
            zip(student.lengths.tolist(), teacher.lengths.tolist(), strict=True)
        ):
            sentence = teacher.values[i, :words].T.unsqueeze(0)
            stretched = torch.nn.functional.interpolate(sentence, size=frames, **self.options)
            pieces.append((student.values[i, :frames], stretched[0].T, torch.full((frames,), i)))
        return Pairs(*(torch.cat(column) for column in zip(*pieces, strict=True)))


@pytest.mark.parametrize(("entry", "mode"), ENTRIES.items())
def test_feature_loss(parity, entry: str, mode: str) -> None:
    case = parity("l2s")[entry]
    student = torch.tensor(case["student_h"])
    teacher = torch.tensor(case["teacher_h"])
    adapter = torch.tensor(case["adapter"])
    head = torch.nn.Linear(*adapter.shape, bias=False)
    head.weight.data = adapter.T
    options = DistillerOptions(teacher="t", tap="encoder", loss="mse", standardise=False)
    distiller = Distiller(
        options, Resample(mode), head, MSE(), TeacherFacts(teacher.size(-1), None)
    )
    states = States(student, torch.tensor(case["frame_lengths"]), 20.0)
    lengths = torch.tensor(case["teacher_mask"]).sum(dim=1)
    term = distiller(states, teacher, lengths, None)
    published = case["feat_loss_sum_over_batch"] / student.size(0)
    assert term.item() == pytest.approx(published, abs=1e-5)
