"""A finished experiment whose files were changed is noticed by whoever reads it."""

from pathlib import Path

import pytest
import yaml

from distill_asr.errors import UserError
from distill_asr.experiments.config import NEEDED, ModelConfig
from distill_asr.experiments.layout import Experiment
from distill_asr.experiments.record import altered_files, is_whole, read_done, write_done


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Files of a finished training, without anything that could be trained."""
    made = Experiment(tmp_path / "exp")
    made.statistics.parent.mkdir(parents=True)
    made.statistics.write_bytes(b"numbers")
    made.model.write_bytes(b"weights")
    bpe = tmp_path / "bpe.model"
    bpe.write_bytes(b"pieces")
    config = dict.fromkeys(NEEDED) | {
        "token_type": "bpe", "bpemodel": str(bpe), "beam": 10,
        "normalize_conf": {"stats_file": str(made.statistics)},
    }  # fmt: skip
    made.config.write_text(yaml.safe_dump(config))
    write_done(made, "abc", ModelConfig.read(made.directory).files)
    return made


def test_a_whole_experiment(experiment: Experiment) -> None:
    done = read_done(experiment)
    assert done["fingerprint"] == "abc"
    assert set(done["files"]) == {
        "config.yaml", "valid.loss.ave.pth", "stats/train/feats_stats.npz", "bpe.model"
    }  # fmt: skip
    assert is_whole(experiment) and ModelConfig.read(experiment.directory)


def test_a_flipped_digit_of_the_config(experiment: Experiment) -> None:
    text = experiment.config.read_text()
    experiment.config.write_text(text.replace("beam: 10", "beam: 90"))
    with pytest.raises(UserError) as error:
        ModelConfig.read(experiment.directory)
    (problem,) = error.value.problems
    assert problem.startswith(f"{experiment.config}: changed or damaged since it was written")
    assert "put a good copy back, or run the same `distill-asr train`" in problem
    assert not is_whole(experiment)
    experiment.done.unlink()  # nothing vouches for a training under way
    assert ModelConfig.read(experiment.directory)


@pytest.mark.parametrize("name", ["stats", "bpe.model"])
def test_a_file_that_the_config_names(experiment: Experiment, name: str) -> None:
    file = experiment.statistics if name == "stats" else experiment.directory.parent / name
    file.write_bytes(b"other")
    with pytest.raises(UserError, match=f"{file}: changed or damaged"):
        ModelConfig.read(experiment.directory)
    assert is_whole(experiment) is (name == "bpe.model")  # the training's identity has that


def test_another_model(experiment: Experiment) -> None:
    experiment.model.write_bytes(b"of another training")
    assert not is_whole(experiment)
    (problem,) = altered_files(experiment, [experiment.model])
    assert str(experiment.model) in problem
    assert altered_files(experiment, [experiment.directory / "3epoch.pth"]) == []


def test_an_experiment_that_was_moved(experiment: Experiment, tmp_path: Path) -> None:
    moved = Experiment(experiment.directory.rename(tmp_path / "moved"))
    files = [moved.config, moved.statistics, moved.model]
    assert is_whole(moved) and altered_files(moved, files) == []
    moved.statistics.write_bytes(b"other")
    (problem,) = altered_files(moved, files)
    assert str(moved.statistics) in problem and not is_whole(moved)


@pytest.mark.parametrize("content", ["", '{"fingerprint": "abd", "sha256": "0"}', "[]"])
def test_a_damaged_record(experiment: Experiment, content: str) -> None:
    experiment.done.write_text(content)
    assert read_done(experiment) == {} and not is_whole(experiment)
    with pytest.raises(UserError, match="run the same `distill-asr train`"):
        ModelConfig.read(experiment.directory)
