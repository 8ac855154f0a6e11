"""Training with ESPnet's distributed options: two processes make the update of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("espnet2")

PATIENCE = 240  # seconds until processes that wait for each other are given up
# nothing drawn, nothing that sees the batch, and plain SGD
PLAIN = {
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
        "dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0,
    },
    "specaug": None,
    "optim": "sgd",
    "optim_conf": {"lr": 0.01},
    "batch_size": 3,
    "max_epoch": 2,
    "keep_nbest_models": 2,
}  # fmt: skip


def train(recipe, config: Path, output: str, rank: int) -> list[str]:
    """The command of one of two processes."""
    command = recipe.train_command(config, output)
    meeting = f"file://{recipe.root}/meeting_{output}"
    options = {"backend": "gloo", "world_size": 2, "rank": rank, "init_method": meeting}
    command += ["--", "--ngpu", "0", "--multiprocessing_distributed", "false"]
    for name, value in options.items():
        command += [f"--dist_{name}", str(value)]
    return [sys.executable, "-m", "distill_asr", *command]


def finish(*processes: subprocess.Popen) -> None:
    for process in reversed(processes):  # the first one waits for those that failed
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said[-3000:]


def start(command: list[str]) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, **pipes)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transducer", "encoder_only"])
def test_two_processes_make_the_update_of_one(recipe, model: str) -> None:
    # 5 utterances in batches of 3: two for one process and one for the other, then one each
    recipe.add_set("train", seed=1, utterances=5, seconds=(1.0, 1.0))
    changes = dict(PLAIN)
    if model == "transducer":
        changes |= {"normalize": "global_mvn"}  # measured by the first process
        changes |= {"joint_net_conf": {"joint_space_size": 16}}
    config = recipe.config(model, ["one", "two"], **changes)
    content = yaml.safe_load(config.read_text())
    content["distill"]["d_two"] |= {"weight": 0.3, "head": "mlp"}
    config.write_text(yaml.safe_dump(content))
    recipe.train(config, "alone")
    finish(*[start(train(recipe, config, "both", rank)) for rank in (0, 1)])
    for epoch in (1, 2):
        one, two = (
            torch.load(recipe.root / output / f"{epoch}epoch.pth", weights_only=True)
            for output in ("alone", "both")
        )
        assert one.keys() == two.keys()
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, atol=2e-5, rtol=1e-4, msg=name)
    again = subprocess.run(train(recipe, config, "both", 1), capture_output=True, text=True)
    assert again.returncode == 0 and "done already" in again.stdout + again.stderr
