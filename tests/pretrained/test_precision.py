"""bfloat16: where there is hardware for it, close to float32, and only where it pays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill_asr.errors import UserError
from distill_asr.pretrained import precision
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.speech_models import FAMILIES as SPEECH
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import FAMILIES as TEXT
from distill_asr.testing.text_models import save_text_model

needs_bfloat16 = pytest.mark.skipif(
    not precision.has_bfloat16("cpu"), reason="this CPU has no bfloat16"
)


def config(kind: str, model: Path, dtype: str = "bfloat16") -> TeacherConfig:
    return TeacherConfig("t.yaml", kind, str(model), (3,), dtype=dtype)


def waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.05, 0.1, n).astype(np.float32) for n in (7000, 12345, 3333)]


@needs_bfloat16
@pytest.mark.parametrize("family", sorted(SPEECH))
def test_speech_in_bfloat16_is_close_whatever_the_batch(tmp_path: Path, family: str) -> None:
    model = save_speech_model(tmp_path, family)
    exact = load_teacher(config("speech", model, "float32")).states(waveforms())
    teacher = load_teacher(config("speech", model))
    together = teacher.states(waveforms())
    alone = [state for waveform in waveforms() for state in teacher.states([waveform])]
    assert all(state.dtype == np.float32 for state in together)
    assert 0 < precision.relative_error(together, exact) < 0.02
    assert precision.relative_error(alone, exact) < 0.02


@needs_bfloat16
@pytest.mark.parametrize("family", sorted(TEXT))
def test_text_in_bfloat16_is_close(tmp_path: Path, family: str) -> None:
    model = save_text_model(tmp_path, family)
    sentences = ["a b c", "ab cd ab cd", "d"]
    exact = load_teacher(config("text", model, "float32")).states(sentences)
    found = load_teacher(config("text", model)).states(sentences)
    assert 0 < precision.relative_error(found, exact) < 0.02


@needs_bfloat16
def test_the_fingerprint_is_of_the_checkpoint(tmp_path: Path) -> None:
    model = save_speech_model(tmp_path)
    teachers = [load_teacher(config("speech", model, d)) for d in ("float32", "bfloat16")]
    assert teachers[0].fingerprint == teachers[1].fingerprint
    settings = [config("speech", model, d).settings() for d in ("float32", "bfloat16")]
    assert settings[0] != settings[1]  # other numbers, another target


def test_what_is_lowered(tmp_path: Path) -> None:
    """Linear layers, and of the front the two convolutions that do most of the work."""
    from transformers import HubertModel

    model = save_speech_model(tmp_path, conv_dim=(8, 64, 64, 64, 64, 64, 64))
    prepared = precision.prepare_model(HubertModel.from_pretrained(model), "bfloat16", "cpu")
    low = {
        name.removesuffix(".weight")
        for name, value in prepared.named_parameters()
        if value.dtype == torch.bfloat16 and name.endswith("weight")
    }
    linear = {n for n, m in prepared.named_modules() if isinstance(m, torch.nn.Linear)}
    front = {f"feature_extractor.conv_layers.{n}.conv" for n in (2, 3)}
    assert low == linear | front


def test_hardware_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: {"avx2", "avx512f"})
    for kind, model in (
        ("speech", save_speech_model(tmp_path / "s")),
        ("text", save_text_model(tmp_path / "t")),
    ):
        with pytest.raises(UserError) as caught:
            load_teacher(config(kind, model))
        (problem,) = caught.value.problems
        assert problem.startswith("t.yaml: dtype: bfloat16 given, but cpu has no instructions")
        assert "write `dtype: float32`" in problem
        load_teacher(config(kind, model, "float32"))


def test_relative_error() -> None:
    exact = [np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]])]
    assert precision.relative_error(exact, exact) == 0
    found = [exact[0] + [[0.0, 0.3]], exact[1] + [[0.4, 0.0]]]
    assert precision.relative_error(found, exact) == pytest.approx(0.1)
