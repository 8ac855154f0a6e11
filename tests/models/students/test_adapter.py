"""The adapter that stays in the student."""

import torch

from distill_asr.models.encoders.adapter import Adapter
from distill_asr.testing.students import tiny_batch, tiny_student

CTC = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
QUIET = {"encoder": "transformer", "encoder_conf": {
    "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
    "dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0,
}}  # fmt: skip
ADAPTED = {"postencoder": "adapter", "postencoder_conf": {"size": 4, "dropout_rate": 0.0}}
BLOCK = {"teacher": "bert", "tap": "adapter", "match": "transport", "loss": "mse"}


def taught(**block: object):
    return tiny_student(
        "ctc", {"text": BLOCK | block}, {"bert": {"width": 4, "step_ms": None}},
        **CTC, **QUIET, **ADAPTED,
    )  # fmt: skip


def test_it_begins_as_the_student_without() -> None:
    plain, adapted = (
        tiny_student("ctc", **CTC, **QUIET),
        tiny_student("ctc", **CTC, **QUIET, **ADAPTED),
    )
    adapted.load_state_dict(plain.state_dict(), strict=False)
    batch = tiny_batch(teachers={})
    torch.testing.assert_close(plain.eval()(**batch)[0], adapted.eval()(**batch)[0])


def test_its_inside_is_a_tap() -> None:
    student = taught(head="identity")
    assert "adapter" in student.tap_names()
    assert "adapter" not in tiny_student("ctc", **CTC, **QUIET).tap_names()
    loss, stats, _ = student(**tiny_batch(teachers={"bert": 4}))
    loss.backward()
    assert float(stats["distill/text"]) > 0
    inside: Adapter = student.postencoder
    assert inside.projection.weight.grad.abs().sum() > 0, "the teacher's way"
    assert inside.back.weight.grad.abs().sum() > 0, "the recogniser's way"


def test_the_tap_has_the_adapters_width_and_the_encoders_rate() -> None:
    student = taught()
    assert student.taps.shapes["adapter"].width == 4
    assert student.distillers["text"].head.weight.shape == (4, 4)
    other = tiny_student(
        "ctc", {"x": {"teacher": "t", "tap": "encoder", "loss": "l1"}}, **CTC, **QUIET
    )
    assert student.taps.shapes["adapter"].step_ms == other.taps.shapes["encoder"].step_ms
