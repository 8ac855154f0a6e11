"""A teacher in the training step: the numbers of a dump, and nothing of it in the student."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.targets.statistics import Statistics
from distill_asr.teachers import load_teacher
from distill_asr.teachers.online import (
    OnlineTeacher,
    from_mapping,
    is_online,
    read_online,
    sample_statistics,
    to_mapping,
)
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.speech_models import save_speech_model


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    """The file of an online teacher."""
    save_speech_model(tmp_path / "model")
    path = tmp_path / "t.yaml"
    path.write_text(
        f"kind: speech\nmodel: {tmp_path / 'model'}\nlayers: [1, 2]\ncombine: mean\n"
        "online: true\nbatch_seconds: 1.0\n"
    )
    return path


@pytest.fixture
def online(yaml: Path) -> OnlineTeacher:
    return OnlineTeacher(read_online(str(yaml)))


LENGTHS = torch.tensor([8000, 5000, 12000])
ALL = torch.ones(3, dtype=torch.bool)


def speech() -> torch.Tensor:
    values = 0.1 * torch.randn(3, 12000, generator=torch.Generator().manual_seed(0))
    return values.masked_fill(torch.arange(12000) >= LENGTHS.unsqueeze(1), 0.0)


def test_states_are_those_of_a_dump(online: OnlineTeacher) -> None:
    values, lengths = online(speech(), LENGTHS, ALL)
    teacher = load_teacher(online.config)
    waveforms = [row[:count].numpy() for row, count in zip(speech(), LENGTHS, strict=True)]
    for row, length, waveform in zip(values, lengths, waveforms, strict=True):
        (alone,) = teacher.states([waveform])
        assert length == len(alone)
        np.testing.assert_allclose(row[:length], alone, atol=2e-5)
    assert values.dtype == torch.float32 and not values.requires_grad


def test_padding_is_not_listened_to(online: OnlineTeacher) -> None:
    values, lengths = online(speech(), LENGTHS, ALL)
    noisy = torch.nn.functional.pad(speech(), (0, 999), value=1.0)
    noisy[1, 5000:] = 7.0
    again, same = online(noisy, LENGTHS, ALL)
    torch.testing.assert_close(again, values)
    assert torch.equal(same, lengths)


def test_only_utterances_that_count_are_listened_to(online: OnlineTeacher) -> None:
    whole, _ = online(speech(), LENGTHS, ALL)
    values, lengths = online(speech(), LENGTHS, torch.tensor([False, True, False]))
    assert lengths.tolist() == [0, 15, 0]
    torch.testing.assert_close(values[1], whole[1, :15], atol=2e-5, rtol=1e-4)
    nothing, lengths = online(speech(), LENGTHS, torch.zeros(3, dtype=torch.bool))
    assert nothing.shape == (3, 0, 16) and lengths.tolist() == [0, 0, 0]


def test_random_state_and_autocast_of_the_training_are_left_alone(online: OnlineTeacher) -> None:
    online(speech(), LENGTHS, ALL)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    plain, _ = online(speech(), LENGTHS, ALL)
    assert torch.equal(torch.rand(4), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = online(speech(), LENGTHS, ALL)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(cast, plain)


def test_it_is_loaded_when_asked_and_stays_behind_in_copies(online: OnlineTeacher) -> None:
    assert not online._loaded
    online(speech(), LENGTHS, ALL)
    assert len(online._loaded) == 1
    for other in (pickle.loads(pickle.dumps(online)), copy.deepcopy(online)):
        assert not other._loaded and other.config == online.config
    assert len(pickle.dumps(online)) < 5000


def test_the_record_of_an_experiment_brings_it_back(online: OnlineTeacher) -> None:
    import yaml as pyyaml

    written = pyyaml.safe_load(pyyaml.safe_dump(to_mapping(online.config)))
    assert from_mapping(written) == online.config


def test_names_of_files_and_of_targets() -> None:
    assert is_online("conf/teacher/wavlm_online.yaml")
    assert not any(map(is_online, ["wavlm", "yaml", None, 5]))


def test_mistakes_of_the_file(yaml: Path) -> None:
    content = yaml.read_text()
    yaml.write_text(content.replace("online: true", "online: false"))
    with pytest.raises(UserError, match=r"t.yaml: no `online: true`"):
        read_online(str(yaml))
    yaml.write_text(content.replace("layers: [1, 2]", "layers: 1"))
    with pytest.raises(UserError, match="layers: given 1"):
        read_online(str(yaml))


class Reader:
    """A teacher of pairs, as a user's own class may be."""

    reads, step_ms, width, min_samples, max_size, fingerprint = "audio+text", 20.0, 4, 0, None, ""


def test_a_teacher_that_reads_text_is_refused(online: OnlineTeacher, monkeypatch) -> None:
    monkeypatch.setattr("distill_asr.teachers.online.load_teacher", lambda *_: Reader())
    with pytest.raises(UserError, match=r"reads audio\+text cannot run in the training step"):
        online(speech(), LENGTHS, ALL)


def test_statistics_are_of_a_sample(online: OnlineTeacher, tmp_path: Path) -> None:
    sets = [
        DataDir.read(write_data_dir(tmp_path / "a", {"a0": 4000, "a1": 7000, "a2": 9000})),
        DataDir.read(write_data_dir(tmp_path / "b", {"b0": 5000, "b1": 6000}, seed=1)),
    ]
    teacher = online.on(torch.device("cpu"))
    everything = sample_statistics(teacher, sets, 60.0, 100, seed=0)
    import soundfile

    audio = [soundfile.read(path, dtype="float32")[0] for d in sets for path in d.wav.values()]
    expected = Statistics.of(np.concatenate(teacher.states(audio)))
    assert everything.count == expected.count
    np.testing.assert_allclose(everything.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(everything.std, expected.std, rtol=1e-4)
    some = sample_statistics(teacher, sets, 60.0, 2, seed=0)
    assert 0 < some.count < everything.count
    again = sample_statistics(teacher, sets, 60.0, 2, seed=0)
    assert np.array_equal(some.mean, again.mean)
    (tmp_path / "a/wav/a0.wav").unlink()
    with pytest.raises(UserError, match="a0"):
        sample_statistics(teacher, sets, 60.0, 100, seed=0)
