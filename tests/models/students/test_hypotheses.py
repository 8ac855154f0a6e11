"""A student's step with a text teacher that reads its hypotheses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from distill_asr.teachers.online import read_online, to_mapping
from distill_asr.testing.students import tiny_batch, tiny_student
from distill_asr.testing.text_models import save_text_model

BATCH = tiny_batch(teachers={})


def student_of(folder: Path, **conf: Any) -> torch.nn.Module:
    save_text_model(folder / "model")
    path = folder / "bert.yaml"
    path.write_text(f"kind: text\nmodel: {folder / 'model'}\nlayers: [2]\nonline: true\n")
    config = to_mapping(read_online(str(path)))
    block = {"teacher": str(path), "tap": "ctc", "match": "nbest", "loss": "cosine", **conf}
    facts = {str(path): {"width": 16, "step_ms": None, "online": config}}
    return tiny_student("ctc", {"risk": block}, facts)


def test_the_gradient_goes_through_the_probabilities_alone(tmp_path: Path) -> None:
    student = student_of(tmp_path, weight=10.0).train()
    loss, stats, _ = student(**BATCH)
    assert 0 < stats["distill/risk"] < 2 and 0 <= stats["distill/risk/read"] <= 1
    torch.testing.assert_close(loss, stats["loss_asr"] + 10 * stats["distill/risk"])
    loss.backward()
    assert not any(name.startswith("distillers") for name in student.state_dict())
    with_risk = student.ctc.ctc_lo.weight.grad.clone()
    student.zero_grad()
    plain = tiny_student("ctc").train()
    plain.load_state_dict(student.state_dict())
    plain(**BATCH)[0].backward()
    assert not torch.equal(with_risk, plain.ctc.ctc_lo.weight.grad)


def test_validation_is_by_the_recognition_loss_alone(tmp_path: Path) -> None:
    student = student_of(tmp_path).eval()
    loss, stats, _ = student(**BATCH)
    assert "distill/risk" not in stats
    torch.testing.assert_close(loss, stats["loss_asr"] if "loss_asr" in stats else loss)
