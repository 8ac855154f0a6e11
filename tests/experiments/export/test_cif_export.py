"""CIF students in ONNX Runtime: PyTorch's frames, weights, vectors and tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("espnet2")
pytest.importorskip("onnxruntime")
import onnxruntime

from distill_asr.testing.students import tiny_student

LENGTHS = [1, 700, 1500, 4000, 16000, 16001, 23456, 320000]  # samples
STUDENTS = {
    "nar": {"decoder": "cif_nar"},
    "nar, triangle": {"decoder": "cif_nar", "conf": {"attention": "triangle", "positions": False}},
    "ar": {"decoder": "cif_ar"},
    "nar, pooled": {"decoder": "cif_nar", "model_conf": {"pool_after": [1], "weights": "dense"}},
    "ar, chunked": {"decoder": "cif_ar", "encoder": "chunked", "model_conf": {"weights": "linear"}},
}
SMALL = {"attention_heads": 2, "linear_units": 16, "num_blocks": 2}


def make_student(name: str) -> nn.Module:
    """A student that fires now and then, and has opinions."""
    given = dict(STUDENTS[name])
    conf = {"output_size": 16, "cnn_module_kernel": 3, **SMALL}
    if given.get("encoder") != "chunked":
        conf |= {"input_layer": "conv2d", "rel_pos_type": "latest"}
    student = tiny_student("cif", encoder_conf=conf, decoder_conf=SMALL | given.pop("conf", {}),
                           **given).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, parameter in student.named_parameters():
            if key.startswith(("decoder.", "weights.")):
                parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return student


def speech(length: int, seed: int) -> torch.Tensor:
    """Noise whose loudness changes."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0, 0.5, length // 1600 + 1), 1600)[:length]
    return torch.from_numpy((loud * rng.normal(size=length)).astype(np.float32))


@pytest.mark.parametrize("name", STUDENTS)
def test_same_tokens(tmp_path: Path, name: str) -> None:
    from distill_asr.experiments.export.expected import Expected
    from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form
    from distill_asr.experiments.export.onnx_file import write_graph
    from distill_asr.experiments.export.recognise import Recogniser

    student = make_student(name)
    wanted = WantedExport(sherpa=False)
    assert not form_problems(student, wanted)
    form = make_form(student, wanted)
    models = {}
    for key, part in form.parts.items():
        path = tmp_path / f"{key}.onnx"
        write_graph(part.graph, part.example, path, part.signature, part.metadata)
        models[key] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    search, found = Expected(student, form, None), []
    recogniser = Recogniser.__new__(Recogniser)  # of the models alone
    recogniser.models, recogniser.facts = models, {"cif": form.cif, "kind": form.kind}
    recogniser.facts["tail_samples"] = 0
    recogniser.features = lambda samples: student.frontend(
        torch.from_numpy(samples)[None], torch.tensor([len(samples)])
    )[0][0].numpy()  # fmt: skip
    for seed, length in enumerate(LENGTHS):
        samples = speech(length, seed)
        right = search(samples)
        assert recogniser.search(samples.numpy()) == right
        found.append(right)
    assert len({tuple(one) for one in found}) > 3
    check_batch(student, models["encoder"])


@torch.no_grad()
def check_batch(student: nn.Module, encoder: onnxruntime.InferenceSession) -> None:
    """A padded batch gives what each utterance gives alone, as PyTorch does."""
    lengths = [400, 61, 83, 7]
    feats = torch.randn(4, 400, 16, generator=torch.Generator().manual_seed(0)) - 4
    frames, weights, counts = encoder.run(None, {"x": feats.numpy(), "x_lens": np.array(lengths)})
    for row, length in enumerate(lengths):
        own = feats[row : row + 1, :length]
        right, count = student.encoder(own, torch.tensor([length]))[:2]
        assert counts[row] == int(count)
        np.testing.assert_allclose(frames[row, : int(count)], right[0], atol=1e-3)
        alpha = student.weights(right, count)[0]
        np.testing.assert_allclose(weights[row, : int(count)], alpha, atol=1e-4)


def test_fires_as_the_student_does() -> None:
    from distill_asr.experiments.export.recognise import integrate_and_fire
    from distill_asr.models.cif import integrate_and_fire as original

    rng = np.random.default_rng(0)
    for largest in (0.2, 0.99, 3.0):
        for length in (0, 1, 2, 50):
            frames = rng.normal(size=(length, 3)).astype(np.float32)
            weights = rng.uniform(0, largest, length).astype(np.float32)
            right = original(torch.from_numpy(frames)[None], torch.from_numpy(weights)[None],
                             torch.tensor([length])).states[0]  # fmt: skip
            found = integrate_and_fire(frames, weights, 0.99, 0.5)
            np.testing.assert_allclose(found, right, atol=1e-4)
