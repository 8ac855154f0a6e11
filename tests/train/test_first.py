"""Processes of one training wait for what the first one prepares."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.train import first
from distill_asr.train.first import command_of_first


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Prepared as soon as its record is there."""
    monkeypatch.setattr(first, "_PAUSE", 0.01)
    monkeypatch.setattr(first, "same_experiment", lambda one, _: one.record.exists())
    return Experiment(tmp_path / "exp")


def prepare(experiment: Experiment) -> None:
    experiment.inputs.mkdir(parents=True)
    experiment.espnet_command.write_text(json.dumps(["--config", "espnet.yaml"]))
    experiment.record.touch()


def test_the_command_comes_when_all_is_there(experiment: Experiment) -> None:
    found: list[list[str]] = []

    def follow() -> None:
        found.append(command_of_first(experiment, SimpleNamespace(), statistics=True))

    follower = threading.Thread(target=follow)
    follower.start()
    with experiment.lock("training"):
        prepare(experiment)
        follower.join(0.2)
        assert not found, "statistics are missing"
        experiment.statistics.parents[1].mkdir()
        follower.join(10)
    assert found == [["--config", "espnet.yaml"]]


def test_a_first_process_that_failed_is_not_waited_for(experiment: Experiment) -> None:
    errors: list[str] = []

    def follow() -> None:
        with pytest.raises(UserError) as error:
            command_of_first(experiment, SimpleNamespace(), statistics=False)
        errors.append(str(error.value))

    follower = threading.Thread(target=follow)
    with experiment.lock("training"):
        follower.start()
        follower.join(0.2)
        assert not errors
    follower.join(10)
    assert errors and "(rank 0) ended before it had prepared the data; see its error" in errors[0]


def test_a_first_process_that_never_comes(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first, "_PATIENCE", 0.05)
    with pytest.raises(UserError, match="no process of rank 0 has begun this training within"):
        command_of_first(experiment, SimpleNamespace(), statistics=False)
