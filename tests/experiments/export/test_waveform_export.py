"""Students on pretrained speech models in ONNX Runtime: PyTorch's numbers, alone and padded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("espnet2")
pytest.importorskip("onnxruntime")
import onnxruntime

from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.students import tiny_student

MODELS = [("hubert", "group", True), ("wav2vec2", "layer", True), ("wavlm", "group", False)]
BATCHES = [[400], [401, 720], [16001, 500, 9000], [320000], [16000, 10], [5]]  # samples


@pytest.mark.parametrize(("family", "norm", "normalised"), MODELS)
@torch.no_grad()
def test_encoder(tmp_path: Path, family: str, norm: str, normalised: bool) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form
    from distill_asr.experiments.export.onnx_file import write_graph

    save_speech_model(tmp_path, family, norm=norm, do_normalize=normalised)
    student = tiny_student("ctc", frontend=None, input_size=1, encoder="hf_speech",
                           encoder_conf={"model": str(tmp_path)}).eval()  # fmt: skip
    assert not form_problems(student, WantedExport(sherpa=False))
    problems = form_problems(student, WantedExport(streaming=True, sherpa=True))
    assert any("do_normalize" in one for one in problems) != normalised
    assert any("--streaming" in one for one in problems)
    part = make_form(student, WantedExport(sherpa=False)).parts["model"]
    write_graph(part.graph, part.example, tmp_path / "model.onnx", part.signature, part.metadata)
    run = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for lengths in BATCHES:
        speech = rng.normal(0.1, 0.3, (len(lengths), max(lengths))).astype(np.float32)
        found, frames = run.run(None, {"x": speech, "x_lens": np.array(lengths)})
        for row, length in enumerate(lengths):
            if length < student.encoder._input.min_samples:
                assert frames[row] == 0
                continue
            own = torch.from_numpy(speech[row : row + 1, :length])
            encoded, count, _ = student.encoder(own, torch.tensor([length]))
            right = student.ctc.log_softmax(encoded)[0]
            assert frames[row] == int(count)
            np.testing.assert_allclose(found[row, : len(right)], right, atol=1e-3)


def test_what_is_refused(tmp_path: Path) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems

    for family in ("wav2vec2-bert", "whisper"):
        save_speech_model(tmp_path / family, family)
        changes = {"frontend": None, "input_size": 1, "encoder": "hf_speech",
                   "encoder_conf": {"model": str(tmp_path / family)}}  # fmt: skip
        student = tiny_student("transducer", **changes)
        problems = form_problems(student, WantedExport(sherpa=True))
        assert ["encoder_conf.model", "encoder"] == [one.partition(":")[0] for one in problems]
        assert f"{family} computes its own features" in problems[0]
