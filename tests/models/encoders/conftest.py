"""Students on tiny pretrained encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.students import tiny_student

RAW = {"input_size": 1, "frontend": None, "frontend_conf": {}, "encoder": "hf_speech"}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``saved(family, ...)`` gives a directory with a model of three layers and width 16."""
    made: dict[str, Path] = {}

    def save(family: str = "wav2vec2", **options: Any) -> Path:
        if family == "whisper":  # students are tried on up to 10 s
            options.setdefault("max_source_positions", 600)
        key = repr((family, sorted(options.items())))
        if key not in made:
            made[key] = save_speech_model(tmp_path_factory.mktemp(family), family, **options)
        return made[key]

    return save


@pytest.fixture
def hf_student(saved) -> Callable[..., Any]:
    """``hf_student(family, encoder_conf, ...)`` gives a CTC student on such a model."""

    def build(family: str = "wav2vec2", conf: dict | None = None, **changes: Any) -> Any:
        conf = {"model": str(saved(family))} | (conf or {})
        plain = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
        return tiny_student("ctc", **(RAW | plain | {"encoder_conf": conf} | changes))

    return build
