"""What all students share: terms, picking, checkpoints, accumulation, padding."""

import copy
from typing import Any

import pytest
import torch

from distill_asr.errors import UserError
from distill_asr.models.students.base import Student
from distill_asr.testing.students import tiny_batch, tiny_student

STUDENTS = ["ctc", "encoder_only", "transducer"]
each_student = pytest.mark.parametrize("model", STUDENTS)
A = {"teacher": "a", "tap": "encoder", "loss": "l1", "weight": 2.0}
B = {"teacher": "b", "tap": "encoder:1", "loss": "mse", "weight": 0.5}
TEACHERS = {"a": 4, "b": 3}
FACTS = {name: {"width": width, "step_ms": 20.0} for name, width in TEACHERS.items()}
# no dropout and no batch statistics: what one batch gives, two halves give too
QUIET = {
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
        "dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0,
    },
}  # fmt: skip


def taught(model: str, distill: dict[str, Any] | None = None, **changes: Any) -> Student:
    if model == "ctc":
        changes = {
            "decoder_conf": {
                "attention_heads": 2,
                "linear_units": 16,
                "num_blocks": 1,
                "dropout_rate": 0.0,
                "positional_dropout_rate": 0.0,
            }
        } | changes
    return tiny_student(model, distill or {"x": A, "y": B}, FACTS, **(QUIET | changes))


def batch(**options: Any) -> dict[str, Any]:
    return tiny_batch(teachers=TEACHERS, **options)


@each_student
def test_the_loss_is_the_sum_of_its_parts(model: str) -> None:
    loss, stats, weight = taught(model)(**batch())
    own = stats["loss_asr"] if model != "encoder_only" else 0.0
    expected = own + 2.0 * stats["distill/x"] + 0.5 * stats["distill/y"]
    torch.testing.assert_close(loss.reshape(()), expected.reshape(()))
    torch.testing.assert_close(stats["loss"], loss.detach())
    assert weight.item() == 2
    assert bool(torch.isfinite(loss))
    assert ("loss_asr" in stats) == (model != "encoder_only")


@each_student
def test_every_parameter_learns(model: str) -> None:
    student = taught(model)
    student(**batch())[0].backward()
    without = [name for name, p in student.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("model", ["ctc", "transducer"])
def test_own_loss_is_that_of_the_plain_student(model: str) -> None:
    plain, student = tiny_student(model, **QUIET).eval(), taught(model).eval()
    missing = student.load_state_dict(plain.state_dict(), strict=False)
    assert all(key.startswith("distillers.") for key in missing.missing_keys)
    expected, stats, _ = plain(**batch())
    torch.testing.assert_close(student(**batch())[1]["loss_asr"].reshape(()), expected.reshape(()))
    assert "loss_asr" not in stats
    assert not any(name.startswith("distill/") for name in stats)


@each_student
def test_checkpoints_hold_the_student_and_its_heads(model: str) -> None:
    student = taught(model)
    x, y = student.distillers["x"], student.distillers["y"]
    x.mean, x.std = torch.zeros(4), torch.ones(4)
    mine = {key for key in student.state_dict() if key.startswith("distillers.")}
    assert mine == {f"distillers.{n}.head.{p}" for n in "xy" for p in ("weight", "bias")}
    assert x.head.weight.shape == (8, 16) and y.head.weight.shape == (6, 16)
    assert not any("target" in key or "teacher" in key for key in student.state_dict())


@each_student
def test_training_without_targets_is_an_error(model: str) -> None:
    given = batch()
    del given["targets_b"], given["targets_b_lengths"]
    with pytest.raises(RuntimeError, match=r"no targets for the distillers \['y'\]"):
        taught(model).train()(**given)


@each_student
def test_validation_judges_by_what_is_there(model: str) -> None:
    student, given = taught(model).eval(), batch()
    with torch.no_grad():
        both = student(**given)[1]
        del given["targets_b"], given["targets_b_lengths"]
        one = student(**given)[1]
        del given["targets_a"], given["targets_a_lengths"]
        assert {"distill/x", "distill/y"} <= set(both)
        assert "distill/x" in one and "distill/y" not in one
        if model == "encoder_only":
            with pytest.raises(RuntimeError, match="no targets, and this student has no other"):
                student(**given)
        else:
            none = student(**given)[1]
            torch.testing.assert_close(none["loss"], none["loss_asr"])


def test_utterances_without_targets_leave_the_term_to_the_others() -> None:
    # one duration: ESPnet's convolutions give a padded utterance a frame more
    student, given = taught("encoder_only").eval(), batch(samples=(16000, 16000))
    single = {key: value[1:] for key, value in given.items()}
    given["targets_a_lengths"] = given["targets_a_lengths"] * torch.tensor([0, 1])
    partly = student(**given)[1]["distill/x"]
    torch.testing.assert_close(partly, student(**single)[1]["distill/x"])


def test_lengths_that_do_not_fit_name_the_utterance() -> None:
    given = batch()
    given["targets_a"] = torch.nn.functional.pad(given["targets_a"], (0, 0, 0, 50))
    given["targets_a_lengths"] = given["targets_a_lengths"] + torch.tensor([0, 50])
    with pytest.raises(UserError, match="utt1: "):
        taught("encoder_only")(**given)


# -- pick ------------------------------------------------------------------------


def test_random_pick_gives_each_utterance_to_one_teacher() -> None:
    student = taught("encoder_only", {"pick": "random", "x": A, "y": B}).train()
    there = torch.ones(1000, dtype=torch.bool)
    drawn = student._choose({"x": there, "y": there})
    assert torch.equal(drawn["x"], ~drawn["y"])
    assert 400 < int(drawn["x"].sum()) < 600


def test_random_pick_is_among_the_teachers_that_have_targets() -> None:
    student = taught("encoder_only", {"pick": "random", "x": A, "y": B}).train()
    x, y = (
        torch.tensor([True, False, False, True] * 50),
        torch.tensor([True, True, False] * 66 + [True] * 2),
    )
    drawn = student._choose({"x": x, "y": y})
    assert drawn["x"][x & ~y].all() and drawn["y"][y & ~x].all()
    assert 0 < int(drawn["x"][x & y].sum()) < int((x & y).sum())


def test_random_pick_is_by_utterance_and_reproducible() -> None:
    student = taught("encoder_only", {"pick": "random", "x": A, "y": B}).train()
    single = [{k: v[i : i + 1] for k, v in batch(samples=(16000, 16000)).items()} for i in (0, 1)]
    alone = [student.eval()(**one)[1] for one in single]
    student.train()
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        stats = student(**batch(samples=(16000, 16000)))[1]
        torch.manual_seed(seed)
        again = student(**batch(samples=(16000, 16000)))[1]
        assert torch.equal(stats["distill/x"], again["distill/x"])
        x, y = stats["distill/x"].item(), stats["distill/y"].item()
        options = {  # which utterances teacher a got
            (): (0.0, (alone[0]["distill/y"] + alone[1]["distill/y"]).item() / 2),
            (0,): (alone[0]["distill/x"].item(), alone[1]["distill/y"].item()),
            (1,): (alone[1]["distill/x"].item(), alone[0]["distill/y"].item()),
            (0, 1): ((alone[0]["distill/x"] + alone[1]["distill/x"]).item() / 2, 0.0),
        }
        found = [k for k, v in options.items() if v == pytest.approx((x, y), rel=1e-4)]
        assert len(found) == 1
        seen.add(found[0])
    assert seen == {(), (0,), (1,), (0, 1)}


def test_validation_asks_all_teachers_even_where_training_picks() -> None:
    student = taught("encoder_only", {"pick": "random", "x": A, "y": B}).eval()
    everybody = taught("encoder_only").eval()
    everybody.load_state_dict(student.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(student(**batch())[0], everybody(**batch())[0])


def test_unknown_pick_is_refused() -> None:
    with pytest.raises(ValueError, match="'some'"):
        taught("encoder_only").attach({}, pick="some")


# -- laws of training --------------------------------------------------------------


@each_student
def test_two_halves_accumulated_are_one_batch(model: str) -> None:
    """Holds for ``reduce: utterance`` and equal halves, as ESPnet divides by ``accum_grad``."""
    # one duration, so that no half pads less than the whole
    whole = batch(samples=(16000,) * 4)
    halves = [{key: value[s] for key, value in whole.items()} for s in (slice(2), slice(2, 4))]
    once = taught(model).train()
    twice = copy_of(once, model)
    for student, parts in ((once, [whole]), (twice, halves)):
        optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
        for part in parts:
            (student(**copy.deepcopy(part))[0] / len(parts)).backward()
        optimiser.step()
    for (name, one), two in zip(once.named_parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=2e-6, rtol=1e-4, msg=name)


def copy_of(student: Student, model: str) -> Student:
    """Built anew, since hooks do not survive ``deepcopy``."""
    other = taught(model).train()
    other.load_state_dict(student.state_dict())
    return other


@each_student
def test_padding_of_the_batch_changes_little(model: str) -> None:
    """Exact up to the front-end's and the convolutions' view of the zeros at the end."""
    student, given = taught(model).eval(), batch(samples=(16000, 9600))
    padded = dict(given)
    for name, fill in (("speech", 0.0), ("text", -1)):
        padded[name] = torch.nn.functional.pad(given[name], (0, 7), value=fill)
    for name in ("targets_a", "targets_b"):
        padded[name] = torch.nn.functional.pad(given[name], (0, 0, 0, 9), value=1e3)
    with torch.no_grad():
        plain, more = student(**copy.deepcopy(given)), student(**padded)
    torch.testing.assert_close(more[0], plain[0], atol=1e-5, rtol=1e-5)


@each_student
def test_half_precision_gives_float32_losses(model: str) -> None:
    student = taught(model).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, stats, _ = student(**batch())
    assert loss.dtype == torch.float32
    assert stats["distill/x"].dtype == torch.float32
    loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in student.parameters())


# -- targets for some utterances only ----------------------------------------------


def some(*there: bool) -> dict[str, Any]:
    """A batch of one duration whose utterances have targets of teacher a only where told."""
    given = batch(samples=(16000,) * len(there))
    given["targets_a_lengths"] = given["targets_a_lengths"] * torch.tensor(there)
    return given


SKIPPING = {"x": A | {"missing": "skip"}, "y": B}


def test_the_share_of_utterances_taught_is_logged() -> None:
    stats = taught("encoder_only", SKIPPING).eval()(**some(True, False, False, True))[1]
    assert stats["distill/x/taught"].item() == 0.5
    assert "distill/y/taught" not in stats, "that block does not skip"


def test_a_scheduled_weight_counts_in_training_and_is_logged() -> None:
    moving = {"weight": {"value": 3.0, "fade_from": 0.5}}
    student = taught("ctc", {"x": A | moving, "y": B | {"weight": 1.0}})
    for share, weight in ((0.0, 3.0), (0.75, 1.5)):
        student.share_done = share
        stats = student(**batch())[1]
        assert stats["distill/x/weight"].item() == weight
        assert "distill/y/weight" not in stats, "that one does not move"
        terms = stats["loss_asr"] + weight * stats["distill/x"] + stats["distill/y"]
        torch.testing.assert_close(stats["loss"], terms)
    with torch.no_grad():
        judged = student.eval()(**batch())[1]
    torch.testing.assert_close(
        judged["loss"], judged["loss_asr"] + 3.0 * judged["distill/x"] + judged["distill/y"]
    )
    assert "distill/x/weight" not in judged


@each_student
def test_a_batch_without_any_targets_still_gives_every_gradient(model: str) -> None:
    student = taught(model, {"x": A | {"missing": "skip"}}).train()
    loss, stats, _ = student(**some(False, False))
    loss.backward()
    assert stats["distill/x"].item() == 0.0 and stats["distill/x/taught"].item() == 0.0
    assert all(p.grad is not None for p in student.parameters())
    assert not any(p.grad.any() for p in student.distillers.parameters())
