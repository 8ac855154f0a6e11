"""Weights that are damaged, or that would run code, are refused with file, reason and way out."""

import argparse
import os
from pathlib import Path

import numpy as np
import pytest

from distill_asr.data.pieces import PieceTokenizer
from distill_asr.errors import UserError
from distill_asr.pretrained.loading import damaged_weights
from distill_asr.pretrained.recognisers import load_recogniser
from distill_asr.pretrained.request import ModelRequest, locate_model
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.speech_recognisers import save_whisper
from distill_asr.testing.text_models import save_text_model

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
transformers = pytest.importorskip("transformers")

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


class Hostile:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_speech_model(tmp_path_factory.mktemp("published"), "hubert")


@pytest.fixture
def model(published: Path, tmp_path: Path) -> Path:
    """A directory without weights, to put some into."""
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((published / name).read_bytes())
    return tmp_path


def refused(model: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_teacher(TeacherConfig("t.yaml", "speech", str(model), (2,)))
    (problem,) = caught.value.problems
    assert problem.startswith("t.yaml: model") and "\n" not in problem
    return problem


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda content: b"", "empty; copy it again"),
        (lambda content: POINTER.encode(), "a Git LFS pointer"),
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: content[:5], "damaged"),
    ],
)
def test_damaged_files(published: Path, model: Path, name: str, damage, reason: str) -> None:
    path = model / name
    if path.suffix == ".bin":
        torch.save(safetensors.load_file(published / "model.safetensors"), path)
        content = path.read_bytes()
    else:
        content = (published / name).read_bytes()
    path.write_bytes(damage(content))
    problem = refused(model)
    assert str(path) in problem and reason in problem and "published" in problem


@pytest.mark.parametrize("beside", [argparse.Namespace(a=1), np.float64(3)])
def test_a_pickle_of_more_than_tensors(published: Path, model: Path, beside: object) -> None:
    weights = safetensors.load_file(published / "model.safetensors")
    torch.save({**weights, "more": beside}, model / "pytorch_model.bin")
    problem = refused(model)
    assert "holds more than tensors" in problem and "model.safetensors" in problem


def test_code_in_a_pickle_is_not_run(published: Path, model: Path) -> None:
    weights = safetensors.load_file(published / "model.safetensors")
    torch.save({**weights, "more": Hostile(model / "run")}, model / "pytorch_model.bin")
    assert "holds more than tensors" in refused(model)
    assert not (model / "run").exists()


def test_no_weights_and_configs_of_another_shape(published: Path, model: Path) -> None:
    assert "neither a usable local directory" in refused(model)
    weights = (published / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights)
    good = (model / "preprocessor_config.json").read_text()
    for content in ("", "{", "[]", '"x"', "3"):
        (model / "preprocessor_config.json").write_text(content)
        assert "preprocessor_config.json" in refused(model)
    (model / "preprocessor_config.json").write_text(good)
    for content in ("", "{", "[]", "{}", '{"model_type": 3}', '{"model_type": "hubert", "a": [}'):
        (model / "config.json").write_text(content)
        assert str(model) in refused(model)


def test_good_weights_have_no_problem(published: Path) -> None:
    assert damaged_weights(published) == []


def cache(model: Path, name: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy a directory into a cache of the hub, and read from there alone."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(commit)
    (place / "blobs").mkdir()
    (place / "snapshots" / commit).mkdir(parents=True)
    for number, path in enumerate(sorted(model.iterdir())):
        (place / "blobs" / str(number)).write_bytes(path.read_bytes())
        (place / "snapshots" / commit / path.name).symlink_to(f"../../blobs/{number}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(transformers.utils.hub.constants, "HF_HUB_CACHE", str(hub))


class TestWhereAModelLies:
    """Hub ids alone, in configs; directories and the hub's cache behind them."""

    NAME = "somebody/hubert-tiny"

    @pytest.mark.parametrize("below", ["somebody/hubert-tiny", "hubert-tiny"])
    def test_below_models(
        self, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
    ) -> None:
        (tmp_path / below).parent.mkdir(exist_ok=True)
        (tmp_path / below).symlink_to(published)
        monkeypatch.setenv("MODELS", str(tmp_path))
        found = load_teacher(TeacherConfig("t.yaml", "speech", self.NAME, (2,)))
        monkeypatch.delenv("MODELS")
        given = load_teacher(TeacherConfig("t.yaml", "speech", str(published), (2,)))
        assert found.fingerprint == given.fingerprint

    def test_in_a_cache_laid_out_as_the_hubs(
        self, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache(published, self.NAME, tmp_path, monkeypatch)
        found = load_teacher(TeacherConfig("t.yaml", "speech", self.NAME, (2,)))
        assert len(found.states([np.zeros(4000, dtype=np.float32)])) == 1

    def test_every_kind_of_model_in_that_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = {"whisper": "openai/whisper-tiny", "bert": "google/bert-tiny"}
        hub = tmp_path / "hub"
        cache(save_whisper(tmp_path / "w"), names["whisper"], hub, monkeypatch)
        cache(save_text_model(tmp_path / "b"), names["bert"], hub, monkeypatch)
        text = load_teacher(TeacherConfig("t.yaml", "text", names["bert"], (2,)))
        random = load_teacher(TeacherConfig("t.yaml", "random", names["bert"]))
        assert [len(one.states(["ab c"])[0]) for one in (text, random)] == [4, 4]
        assert PieceTokenizer(names["bert"]).text2tokens("ab c") == ["ab", "c"]
        window = TeacherConfig("t.yaml", "speech", names["whisper"], (2,))
        assert len(load_teacher(window).states([np.zeros(4000, dtype=np.float32)])) == 1
        asked = ModelRequest(names["whisper"], "t.yaml")
        recogniser = load_recogniser(asked, "ru", "transcribe", "cpu")
        assert len(recogniser.recognise([np.zeros(4000, dtype=np.float32)])) == 1

    def test_models_that_are_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MODELS", str(tmp_path))
        assert locate_model(self.NAME) == self.NAME  # then the hub
        monkeypatch.setenv("MODELS", str(tmp_path / "absent"))
        with pytest.raises(UserError, match=r"MODELS=.*absent: no such directory; .*hubert-tiny"):
            locate_model(self.NAME)
