"""A text teacher in the training step: the numbers of a dump, for any sentence."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_asr.data.words import TokenWords
from distill_asr.errors import UserError
from distill_asr.teachers import load_teacher
from distill_asr.teachers.online import read_online
from distill_asr.teachers.online_text import (
    OnlineReader,
    load_reader,
    readable,
    text_statistics,
    transcript_problems,
)
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import save_text_model

CPU = torch.device("cpu")
AB, AB_C = [3, 4], [3, 4, 2, 5]  # ab; ab c


def reader(folder: Path, *lines: str) -> OnlineReader:
    if not (folder / "model").exists():
        save_text_model(folder / "model")
    content = [f"model: {folder / 'model'}", "online: true", *lines]
    content += [] if any("kind:" in line for line in lines) else ["kind: text", "layers: [2]"]
    (folder / "bert.yaml").write_text("\n".join(content) + "\n")
    config = read_online(str(folder / "bert.yaml"))
    return OnlineReader(config, TokenWords(TOKENS, "char"))


def test_states_are_those_of_a_dump_in_any_company(tmp_path: Path) -> None:
    online = reader(tmp_path)
    teacher = load_teacher(online.config)
    expected = teacher.states(["ab c"])[0], teacher.states(["ab"])[0]
    for sentences, order in (([AB_C, AB], (0, 1)), ([AB, AB_C, AB], (1, 0, 1)), ([AB_C], (0,))):
        read = online(sentences, CPU)
        assert read.lengths.tolist() == [len(expected[one]) for one in order]
        for row, count, one in zip(read.values, read.lengths, order, strict=True):
            np.testing.assert_allclose(row[:count], expected[one], atol=2e-6)
            assert not bool(row[count:].any())
    assert read.step_ms is None and not read.values.requires_grad


def test_what_cannot_be_read_has_no_states(tmp_path: Path) -> None:
    online = reader(tmp_path)
    long = [3, 2] * 60  # more pieces than positions
    assert online([[], AB, long], CPU).lengths.tolist() == [0, 3, 0]
    assert online([[]], CPU).values.shape == (1, 0, 16)
    assert online([], CPU).values.shape == (0, 0, 16)


def test_sentences_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill_asr.teachers.online_text._KEPT", 2)
    online = reader(tmp_path)
    first = online([AB, AB_C, [5], [6]], CPU).values  # more than are kept
    teacher = online._on(CPU).teacher
    monkeypatch.setattr(teacher, "states", None)
    assert torch.equal(online([[5], [6]], CPU).values, first[2:, :3])
    with pytest.raises(TypeError):
        online([AB], CPU)


def test_a_table_by_piece(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("ab c\nc ab\n")
    means = reader(tmp_path, "kind: text", "layers: [2]", "combine: mean_of_piece",
                   f"corpus: {tmp_path / 'corpus'}")  # fmt: skip
    read = means([AB_C, [5, 2, 3, 4], [6]], CPU)
    assert read.lengths.tolist() == [4, 4, 0]  # d has no mean
    torch.testing.assert_close(read.values[0, 1], read.values[1, 2])  # ab, wherever it stands
    random = reader(tmp_path, "kind: random", "seed: 3")([AB, [6]], CPU)
    assert random.lengths.tolist() == [3, 3]


def test_random_state_and_copies_are_left_alone(tmp_path: Path) -> None:
    online = reader(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    online([AB], CPU)
    assert torch.equal(torch.rand(4), expected)
    for other in (pickle.loads(pickle.dumps(online)), copy.deepcopy(online)):
        assert not other._loaded and other.config == online.config
        assert other.words(AB_C) == "ab c"


def test_transcripts_and_statistics(tmp_path: Path) -> None:
    teacher = load_reader(reader(tmp_path).config, CPU)
    assert readable(teacher, "ab") and not readable(teacher, "a " * 50)
    assert transcript_problems(teacher, {"u1": "ab c"}, "dump/train/text") == []
    (problem,) = transcript_problems(teacher, {"u1": "ab c", "u2": "a " * 50}, "dump/train/text")
    assert problem.startswith("dump/train/text: the teacher cannot read 1 utterance(s) (u2): ")
    assert "1 to 40 pieces" in problem
    found = text_statistics(teacher, ["ab c", "d", "d"], 8)
    states = np.concatenate(teacher.states(["ab c", "d"]))
    np.testing.assert_allclose(found.mean, states.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.std, states.std(axis=0), atol=1e-4)


def test_a_teacher_of_audio_is_refused(tmp_path: Path) -> None:
    save_speech_model(tmp_path / "speech")
    path = tmp_path / "t.yaml"
    path.write_text(f"kind: speech\nmodel: {tmp_path / 'speech'}\nlayers: [1]\nonline: true\n")
    with pytest.raises(UserError, match=r"t.yaml: reads audio; hypotheses need a teacher"):
        load_reader(read_online(str(path)), CPU)
