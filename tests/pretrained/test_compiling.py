"""Compiled parts compute what they computed, and a machine that cannot compile is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill_asr.errors import UserError
from distill_asr.pretrained.families import family_of
from distill_asr.pretrained.families.base import FILES
from distill_asr.pretrained.first_convolution import FoldedConvolution
from distill_asr.pretrained.loading import load_model_config
from distill_asr.pretrained.precision import prepare_model
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.speech_models import save_speech_model

LENGTHS = (7000, 400, 16000, 3333)


def config(model: Path) -> TeacherConfig:
    return TeacherConfig("t.yaml", "speech", str(model), (3,))


def waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.05, 0.1, count).astype(np.float32) for count in LENGTHS]


@pytest.mark.slow
def test_states_are_the_same_in_batches_of_any_size(tmp_path: Path) -> None:
    plain = config(save_speech_model(tmp_path, norm="layer"))
    audio = waveforms()
    expected = load_teacher(plain).states(audio)
    compiled = load_teacher(replace(plain, compile=True))
    for count in (4, 2, 1):
        for found, wanted in zip(compiled.states(audio[:count]), expected, strict=False):
            np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_compiling_is_no_part_of_what_the_targets_are(tmp_path: Path) -> None:
    plain = config(tmp_path)
    assert replace(plain, compile=True).settings() == plain.settings()


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        raise RuntimeError("no C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    given = replace(config(save_speech_model(tmp_path)), compile=True)
    with pytest.raises(UserError, match=r"compile: true .* cpu .*\(no C\+\+ compiler found\); "):
        load_teacher(given)


def test_a_family_without_known_parts(tmp_path: Path) -> None:
    given = replace(config(save_speech_model(tmp_path, "moonshine")), compile=True)
    with pytest.raises(UserError, match=r"compile: true given, but no parts .*'moonshine'"):
        load_teacher(given)


def test_norms_over_utterances_are_not_compiled(tmp_path: Path) -> None:
    request = config(save_speech_model(tmp_path, norm="group")).request()
    model_config = load_model_config(request, FILES)
    family = family_of(model_config.model_type).load(request, model_config)
    whole = len(family.model.feature_extractor.conv_layers) + len(family.model.encoder.layers)
    assert len(family.parts()) == whole - 1
    prepare_model(family.model, "float32", "cpu")
    assert len(family.parts()) == whole - 1
    assert not any(isinstance(part, FoldedConvolution) for part in family.parts())
