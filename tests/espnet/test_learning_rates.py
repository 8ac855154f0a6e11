"""Parts of a student with learning rates of their own."""

from argparse import Namespace

import pytest

from distill_asr.errors import UserError
from distill_asr.espnet.learning_rates import parameter_groups
from distill_asr.espnet.task import DistillTask
from distill_asr.testing.fixtures import tiny_config
from distill_asr.testing.students import tiny_student
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig


def test_every_parameter_is_in_one_group_and_the_longer_name_counts() -> None:
    student = tiny_student("ctc")
    rates = {"encoder": 1e-3, "encoder.encoders.0": 1e-4, "ctc": 0.0}
    groups = parameter_groups(student, rates)
    assert [group.get("lr") for group in groups] == [None, 1e-3, 1e-4, 0.0]
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(map(id, student.parameters()))
    first = {id(p) for p in student.encoder.encoders[0].parameters()}
    assert {id(p) for p in groups[2]["params"]} == first


def test_the_optimizer_has_them() -> None:
    student = tiny_student("ctc")
    args = Namespace(
        learning_rates={"encoder": 1e-4}, optim="adamw", optim_conf={"lr": 0.01},
        sharded_ddp=False, exclude_weight_decay=False,
    )  # fmt: skip
    (optimizer,) = DistillTask.build_optimizers(args, student)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 1e-4]
    args.learning_rates = {}
    (optimizer,) = DistillTask.build_optimizers(args, student)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]
    args = Namespace(**vars(args) | {"learning_rates": {"ctc": 1.0}, "sharded_ddp": True})
    with pytest.raises(UserError, match="sharded_ddp"):
        DistillTask.build_optimizers(args, student)


@pytest.mark.parametrize(
    ("rates", "named"),
    [
        ({"encodr": 1e-3}, r"encodr: no parameters.*did you mean 'encoder'"),
        ({"enc": 1e-3}, "enc: no parameters"),
        ({"encoder": "1e-3"}, "encoder: '1e-3'"),
        ({"encoder": -1.0}, "encoder: -1.0"),
    ],
)
def test_mistakes_are_found_before_training(rates: dict, named: str) -> None:
    check_config(
        TrainConfig.parse(tiny_config("ctc", learning_rates={"encoder": 0.001}), "good.yaml")
    )
    with pytest.raises(UserError, match=f"learning_rates.{named}"):
        check_config(TrainConfig.parse(tiny_config("ctc", learning_rates=rates), "bad.yaml"))


@pytest.mark.parametrize(
    ("scheduler", "conf", "kept"),
    [
        ("warmuplr", {"warmup_steps": 10}, True),
        ("cosineannealinglr", {"T_max": 10}, True),
        ("reducelronplateau", {}, True),
        ("cosineannealingwarmuprestarts", {"first_cycle_steps": 10, "warmup_steps": 2}, False),
        ("onecyclelr", {"max_lr": 0.1, "total_steps": 10}, False),
    ],
)
def test_a_scheduler_that_overrules_them_is_refused(scheduler: str, conf: dict, kept: bool) -> None:
    config = tiny_config("ctc", scheduler=scheduler, scheduler_conf=conf)
    check_config(TrainConfig.parse(config, "plain.yaml"))
    parts = {**config, "learning_rates": {"encoder": 1e-5}}
    if kept:
        check_config(TrainConfig.parse(parts, "parts.yaml"))
    else:
        with pytest.raises(UserError, match=f"scheduler {scheduler} gives all parts the same"):
            check_config(TrainConfig.parse(parts, "parts.yaml"))
