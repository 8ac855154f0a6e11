"""Two processes train one student: nobody waits for a gradient that never comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from distill_asr.teachers.online import OnlineTeacher, read_online, to_mapping
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.students import tiny_batch, tiny_student

PATIENCE = 60  # seconds until a process that waits for the other is given up


def online_facts(root: Path) -> dict[str, Any]:
    """A teacher's file, and what a training records about it."""
    save_speech_model(root / "model")
    path = root / "t.yaml"
    path.write_text(f"kind: speech\nmodel: {root / 'model'}\nlayers: [2]\nonline: true\n")
    config = to_mapping(read_online(str(path)))
    return {str(path): {"width": 16, "step_ms": 20.0, "online": config}}


def train_a_step(rank: int, root: str, facts: dict[str, Any]) -> None:
    """One of two processes: rank 1 has no targets of teacher ``a`` at all."""
    torch.set_num_threads(1)
    from datetime import timedelta

    distributed.init_process_group(
        "gloo", init_method=f"file://{root}/meet", rank=rank, world_size=2,
        timeout=timedelta(seconds=PATIENCE),
    )  # fmt: skip
    blocks = {"x": {"teacher": "a", "tap": "encoder", "loss": "l1", "missing": "skip"}}
    blocks |= {f"y{i}": {"teacher": t, "tap": "encoder", "loss": "l1"} for i, t in enumerate(facts)}
    student = tiny_student("encoder_only", blocks, facts).train()
    batch = tiny_batch(samples=(8000, 8000), teachers={"a": 4}, seed=rank)
    if rank == 1:
        batch["targets_a"] = torch.zeros(2, 0, 4)
        batch["targets_a_lengths"] = torch.zeros(2, dtype=torch.int64)
    parallel = torch.nn.parallel.DistributedDataParallel(student)
    optimiser = torch.optim.SGD(parallel.parameters(), lr=0.1)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, stats, _ = parallel(**batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    torch.save(
        {"state": student.state_dict(), "taught": stats["distill/x/taught"].item()},
        f"{root}/rank{rank}.pt",
    )
    distributed.destroy_process_group()


@pytest.mark.slow
def test_a_process_without_targets_and_teachers_in_the_step(tmp_path: Path) -> None:
    facts = online_facts(tmp_path)
    torch.multiprocessing.spawn(train_a_step, (str(tmp_path), facts), nprocs=2)
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert (one["taught"], two["taught"]) == (1.0, 0.0)
    assert all(
        torch.equal(value, two["state"][name])
        for name, value in one["state"].items()
        if "running_" not in name and "num_batches" not in name
    )
    start = tiny_student(
        "encoder_only", {"x": {"teacher": "a", "tap": "encoder", "loss": "l1"}}, seed=0
    ).state_dict()
    assert not torch.equal(
        one["state"]["distillers.x.head.weight"], start["distillers.x.head.weight"]
    )


def test_an_online_teacher_is_nothing_of_the_students(tmp_path: Path) -> None:
    facts = online_facts(tmp_path)
    (name,) = facts
    block = {"teacher": name, "tap": "encoder", "loss": "l1"}
    student = tiny_student("encoder_only", {"y": block}, facts)
    before = {key: value.shape for key, value in student.state_dict().items()}
    student.train()(**tiny_batch(teachers={}))[0].backward()
    assert {key: value.shape for key, value in student.state_dict().items()} == before
    assert {key.split(".")[0] for key, _ in student.named_parameters()} == {"encoder", "distillers"}
    assert not any(isinstance(module, OnlineTeacher) for module in student.modules())


def test_an_online_teacher_does_not_learn(tmp_path: Path) -> None:
    facts = online_facts(tmp_path)
    (name,) = facts
    block = {"teacher": name, "tap": "encoder", "loss": "l1"}
    student = tiny_student("encoder_only", {"y": block}, facts).train()
    optimiser = torch.optim.SGD(student.parameters(), lr=1.0)
    given = tiny_batch(teachers={})
    first = student.online[name](given["speech"], given["speech_lengths"], torch.ones(2).bool())
    for _ in range(3):
        student(**given)[0].backward()
        optimiser.step()
        student.train()  # what a trainer does must not reach the teacher
    again = student.online[name](given["speech"], given["speech_lengths"], torch.ones(2).bool())
    assert torch.equal(first[0], again[0])
    states = student.online[name].on(torch.device("cpu")).states([given["speech"][0].numpy()])
    alone = torch.from_numpy(states[0])
    assert torch.allclose(alone, again[0][0][: len(alone)], atol=1e-5)
