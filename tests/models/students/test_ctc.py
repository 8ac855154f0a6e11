"""The CTC and hybrid student is ESPnet's model, and ESPnet can load it."""

import pytest
import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from distill_asr.errors import UserError
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.students import tiny_batch, tiny_student

BLOCK = {"x": {"teacher": "teacher", "tap": "encoder", "loss": "l1"}}
KINDS = {
    "hybrid": {},
    "ctc": {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}},
    "attention": {"model_conf": {"ctc_weight": 0.0}},
}
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


@each_kind
def test_parameters_are_named_as_in_espnet(kind: str) -> None:
    plain = tiny_student("ctc", **KINDS[kind])
    arguments = {"vocab_size": len(TOKENS), "token_list": TOKENS, "frontend": plain.frontend}
    arguments |= {"encoder": plain.encoder, "decoder": plain.decoder}
    arguments |= {"ctc_weight": plain.ctc_weight}
    ctc = plain.ctc or tiny_student("ctc").ctc
    nothing = ("specaug", "normalize", "preencoder", "postencoder", "joint_network")
    stock = ESPnetASRModel(ctc=ctc, **arguments, **dict.fromkeys(nothing))
    assert list(stock.state_dict()) == list(plain.state_dict())
    taught = tiny_student("ctc", BLOCK, **KINDS[kind]).state_dict()
    kept = [name for name in taught if not name.startswith("distillers.")]
    assert kept == list(stock.state_dict())


@each_kind
def test_the_loss_is_espnets(kind: str) -> None:
    taught = tiny_student("ctc", BLOCK, **KINDS[kind]).eval()
    with torch.no_grad():
        expected, theirs, _ = ESPnetASRModel.forward(taught, **tiny_batch())
        loss, stats, weight = taught(**tiny_batch())
    torch.testing.assert_close(stats["loss_asr"], theirs["loss"])
    torch.testing.assert_close(loss, expected + stats["distill/x"])
    for name in set(theirs) - {"loss"}:
        assert stats[name] == theirs[name] or torch.isnan(stats[name]), name
    assert weight.item() == 2


def test_distillation_reaches_the_encoder_but_not_the_decoder() -> None:
    student = tiny_student("ctc", {"x": BLOCK["x"] | {"tap": "encoder:1"}}).train()
    with student.taps.recording():
        student.asr_loss(**tiny_batch())
        student._distill(tiny_batch(), {})[0]["x"].backward()
    touched = {name for name, p in student.named_parameters() if p.grad is not None}
    assert any(name.startswith("encoder.encoders.0.") for name in touched)
    assert not any(name.startswith(("encoder.encoders.1.", "decoder.", "ctc.")) for name in touched)


SHRINK = {"x": BLOCK["x"] | {"match": "shrink", "head": "projection", "loss": "mse"}}


@pytest.mark.parametrize("training", [True, False])
def test_matchers_are_offered_the_logits_of_the_ctc_loss(training: bool) -> None:
    student = tiny_student("ctc", SHRINK).train(training)
    batch = tiny_batch((16000, 9000))
    student.ctc.ctc_lo.register_forward_hook(lambda *_: calls.append(1))
    calls: list[int] = []
    with student.taps.recording():
        student.asr_loss(**batch)
        states = dict(student.taps.states)
    assert len(calls) == (1 if training else 2), "validation computes the error rate besides"
    expected = student.ctc.ctc_lo(states["encoder"].values)
    torch.testing.assert_close(states["ctc"].values, expected)
    assert torch.equal(states["ctc"].lengths, states["encoder"].lengths)
    student.asr_loss(**batch)
    assert student.taps.states == {}


def test_intermediate_ctc_does_not_stand_in_for_the_main_one() -> None:
    conf = {"interctc_layer_idx": [1], "interctc_use_conditioning": True}
    encoder_conf = {"output_size": 16, "attention_heads": 2, "num_blocks": 2, "linear_units": 16}
    student = tiny_student(
        "ctc", SHRINK, encoder="transformer", encoder_conf=encoder_conf | conf,
        model_conf={"ctc_weight": 0.3, "interctc_weight": 0.5},
    ).train()  # fmt: skip
    with student.taps.recording():
        student.asr_loss(**tiny_batch())
        states = dict(student.taps.states)
    expected = student.ctc.ctc_lo(states["encoder"].values)
    torch.testing.assert_close(states["ctc"].values, expected)


@pytest.mark.parametrize("kind", ["ctc", "hybrid"])
def test_shrink_matching_trains_the_encoder(kind: str) -> None:
    student = tiny_student("ctc", SHRINK, **KINDS[kind]).train()
    loss, stats, _ = student(**tiny_batch())
    loss.backward()
    torch.testing.assert_close(loss, stats["loss_asr"] + stats["distill/x"])
    assert student.distillers["x"].head.weight.grad.abs().sum() > 0


def test_without_a_ctc_loss_there_is_nothing_to_shrink_by() -> None:
    student = tiny_student("ctc", SHRINK, **KINDS["attention"]).train()
    with pytest.raises(UserError, match="needs the student's CTC output"):
        student(**tiny_batch())
