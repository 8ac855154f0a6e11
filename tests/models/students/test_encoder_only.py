"""Stage 1: audio and targets, nothing else."""

import pytest
import torch

from distill_asr.testing.students import tiny_batch, tiny_student

BLOCK = {"teacher": "teacher", "tap": "encoder", "loss": "l1"}


def unlabelled() -> dict:
    return {key: value for key, value in tiny_batch().items() if not key.startswith("text")}


def test_needs_neither_text_nor_token_list() -> None:
    loss, stats, weight = tiny_student("encoder_only").train()(**unlabelled())
    loss.backward()
    assert set(stats) == {"loss", "distill/embedding"}
    torch.testing.assert_close(stats["loss"], stats["distill/embedding"])
    assert weight.item() == 2


def test_text_in_the_batch_changes_nothing() -> None:
    student = tiny_student("encoder_only").eval()
    with torch.no_grad():
        torch.testing.assert_close(student(**tiny_batch())[0], student(**unlabelled())[0])


def test_keeps_front_end_and_encoder_only() -> None:
    student = tiny_student("encoder_only")
    parts = {name.split(".")[0] for name in student.state_dict()}
    assert parts - {"frontend"} == {"encoder", "distillers"}
    assert student.ctc is None and student.decoder is None


@pytest.mark.parametrize("model", ["ctc", "transducer"])
def test_stage_two_takes_the_encoder_over(model: str) -> None:
    first, second = tiny_student("encoder_only", seed=1), tiny_student(model, seed=2)
    before = second.encoder.state_dict()
    learnt = first.encoder.state_dict()
    assert list(before) == list(learnt)
    assert any(not torch.equal(before[name], learnt[name]) for name in learnt)
    second.encoder.load_state_dict(learnt)


def test_several_teachers_teach_one_encoder() -> None:
    teachers = {"a": 4, "b": 3}
    blocks = {name: BLOCK | {"teacher": name} for name in teachers}
    facts = {name: {"width": width, "step_ms": 20.0} for name, width in teachers.items()}
    student = tiny_student("encoder_only", blocks, facts).train()
    loss, stats, _ = student(**tiny_batch(teachers=teachers))
    torch.testing.assert_close(loss.squeeze(), (stats["distill/a"] + stats["distill/b"]).squeeze())


def test_learning_lowers_the_loss() -> None:
    student = tiny_student("encoder_only", encoder_conf={
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
        "dropout_rate": 0.0, "positional_dropout_rate": 0.0, "cnn_module_kernel": 3,
    }).train()  # fmt: skip
    optimiser = torch.optim.Adam(student.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = student(**unlabelled())[0]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_features_for_the_statistics_pass_need_no_text() -> None:
    student = tiny_student("encoder_only", distill={})
    given = unlabelled()
    found = student.collect_feats(given["speech"], given["speech_lengths"])
    assert found["feats"].shape == (2, 100, 16)
    assert found["feats_lengths"].tolist() == [100, 75]
