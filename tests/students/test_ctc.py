"""The CTC and hybrid student is ESPnet's model, and ESPnet can load it."""

import pytest
import torch
from espnet2.asr.espnet_model import ESPnetASRModel

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
        student._distill(tiny_batch())["x"].backward()
    touched = {name for name, p in student.named_parameters() if p.grad is not None}
    assert any(name.startswith("encoder.encoders.0.") for name in touched)
    assert not any(name.startswith(("encoder.encoders.1.", "decoder.", "ctc.")) for name in touched)
