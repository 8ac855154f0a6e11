"""The fixtures shipped to users hold what they promise."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill_asr.data.datadir import DataDir, validate
from distill_asr.targets.manifest import Manifest
from distill_asr.testing.fixtures import (
    TOKENS,
    make_prepared_dir,
    prepared_dir,  # noqa: F401  a fixture, used by its name
    speech_teacher,  # noqa: F401
    tiny_config,
    write_targets,
    write_tokens,
)
from distill_asr.testing.students import tiny_batch, tiny_student
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig


def test_a_prepared_dir_passes_the_checks(prepared_dir: Path) -> None:  # noqa: F811
    data, facts = validate(prepared_dir, sampling_rate=16000)
    assert len(data) == 4
    assert data.num_samples == {key: fact.frames for key, fact in facts.items()}
    assert min(data.num_samples.values()) == 9600 and max(data.num_samples.values()) == 24000
    assert set("".join(data.text.values())) <= {*TOKENS, " "}


def test_same_seed_same_data(tmp_path: Path) -> None:
    def words(name: str, seed: int) -> list[str]:
        made = DataDir.read(make_prepared_dir(tmp_path / name, seed=seed))
        return list(made.text.values())

    assert words("one", 0) == words("two", 0) != words("three", 1)


def test_two_dirs_share_no_ids(tmp_path: Path) -> None:
    one = DataDir.read(make_prepared_dir(tmp_path / "one"))
    two = DataDir.read(make_prepared_dir(tmp_path / "two", utterances=1, text=False))
    assert two.text is None and len(two) == 1
    assert not set(one.wav) & set(two.wav)


def test_targets_fit_the_data(prepared_dir: Path) -> None:  # noqa: F811
    states, manifest = write_targets(prepared_dir, "w", width=5, step_ms=20.0)
    assert (manifest.width, manifest.step_ms) == (5, 20.0)
    assert Manifest.load(prepared_dir / "targets" / "w") == manifest
    lengths = DataDir.read(prepared_dir).num_samples
    assert {key: len(value) for key, value in states.items()} == {
        key: count // 320 for key, count in lengths.items()
    }


def test_the_teacher_speaks(speech_teacher: Path) -> None:  # noqa: F811
    import transformers

    model = transformers.AutoModel.from_pretrained(speech_teacher)
    with torch.no_grad():
        out = model(torch.randn(1, 16000), output_hidden_states=True)
    assert len(out.hidden_states) == 3
    assert out.last_hidden_state.shape == (1, 49, 16)


@pytest.mark.parametrize("model", ["ctc", "encoder_only", "transducer"])
def test_tiny_configs_are_valid_and_small(model: str, tmp_path: Path) -> None:
    check_config(TrainConfig.parse(tiny_config(model), "tiny"))
    check_config(
        TrainConfig.parse(
            tiny_config(model, token_list=write_tokens(tmp_path / "tokens.txt")), "tiny"
        )
    )
    student = tiny_student(model, distill={})
    assert sum(p.numel() for p in student.parameters()) < 20000


def test_students_and_batches_are_reproducible() -> None:
    one, two, other = (tiny_student(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    first, second = tiny_batch(), tiny_batch()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_batches_are_padded_as_espnet_pads() -> None:
    batch = tiny_batch((16000, 12000))
    assert batch["targets_teacher_lengths"].tolist() == [50, 37]
    assert not batch["speech"][1, 12000:].any() and batch["speech"][1, :12000].all()
    assert not batch["targets_teacher"][1, 37:].any()
    assert batch["text_lengths"].tolist() == [3, 4] and batch["text"][0, 3] == -1
