"""Graphs in ONNX Runtime give PyTorch's numbers, for any length, alone and in a padded batch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("espnet2")
pytest.importorskip("onnxruntime")
import onnxruntime

from distill_asr.models.encoders.chunked import ChunkedStream
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.students import tiny_student

BASE = {"output_size": 16, "attention_heads": 2, "num_blocks": 2}
LINEAR = BASE | {"linear_units": 16}
REL = {"rel_pos_type": "latest"}
CGMLP = {"cgmlp_linear_units": 32, "cgmlp_conv_kernel": 5}
ENCODERS = {
    "conformer": LINEAR | REL | {"input_layer": "conv2d", "cnn_module_kernel": 5},
    "conformer, 20 ms": LINEAR | REL | {"input_layer": "conv2d2", "cnn_module_kernel": 3}
    | {"positionwise_layer_type": "conv1d", "positionwise_conv_kernel_size": 3},
    "e_branchformer": LINEAR | REL | CGMLP | {"input_layer": "conv2d", "merge_conv_kernel": 5},
    "branchformer": BASE | REL | CGMLP | {"input_layer": "conv2d6",
                                          "attention_layer_type": "rel_selfattn",
                                          "pos_enc_layer_type": "rel_pos"},
    "transformer": LINEAR | {"input_layer": "conv2d"},
    "chunked": LINEAR | {"cnn_module_kernel": 5, "chunk_size": 4, "left_frames": 6},
    "chunked, full": LINEAR | {"cnn_module_kernel": 5, "chunk_size": 0, "subsampling_factor": 6},
}  # fmt: skip
STATISTICS = {"norm_means": True, "norm_vars": True}


def student_with_opinions(encoder: str, model: str = "transducer", **changes) -> nn.Module:
    """A student whose normalisations and outputs are not those of a fresh one."""
    student = tiny_student(model, encoder=encoder.partition(",")[0],
                           encoder_conf=ENCODERS[encoder] | changes.pop("conf", {}),
                           **changes).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(1)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.copy_(noise(module.running_mean))
            module.running_var.copy_(noise(module.running_var).abs() + 0.5)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.startswith(("ctc.", "decoder.", "joint_network.")):
                parameter += noise(parameter)
    return student


def session(part, path: Path):
    """ONNX Runtime on a part of an export."""
    from distill_asr.experiments.export.onnx_file import write_graph

    write_graph(part.graph, part.example, path, part.signature, part.metadata)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@torch.no_grad()
def alone(student: nn.Module, feats: Tensor) -> Tensor:
    """Projected encoder output [F, J] of one utterance's features [T, C], by PyTorch."""
    feats, lengths = feats[None].clone(), torch.tensor([len(feats)])
    if student.normalize is not None:
        feats, _ = student.normalize(feats, lengths)
    return student.joint_network.lin_enc(student.encoder(feats, lengths)[0])[0]


def features(lengths: list[int], seed: int) -> Tensor:
    """[N, T, C]; what stands behind an utterance is far from silence."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(len(lengths), max(lengths), 16, generator=generator) - 4


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("normalize", [None, "utterance_mvn"])
def test_offline_encoder(tmp_path: Path, encoder: str, normalize: str | None) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form

    student = student_with_opinions(encoder, normalize=normalize,
                                    normalize_conf=STATISTICS if normalize else {})  # fmt: skip
    wanted = WantedExport(sherpa=False)
    assert not form_problems(student, wanted)
    part = make_form(student, wanted).parts["encoder"]
    run = session(part, tmp_path / "encoder.onnx")
    least = part.graph.encoder.shortest
    for seed, lengths in enumerate(
        ([least], [least + 1, least], [83, 50, 21], [4 * 4 + 7, 4 * 4 + 8], [2000, 333, least])
    ):
        feats = features(lengths, seed)
        found, counts = run.run(None, {"x": feats.numpy(), "x_lens": np.array(lengths)})
        for row, length in enumerate(lengths):
            right = alone(student, feats[row, :length])
            assert counts[row] == len(right)
            np.testing.assert_allclose(found[row, : len(right)], right, atol=1e-4)
    found, counts = run.run(None, {"x": features([2, 1], 9).numpy(), "x_lens": np.array([2, 1])})
    assert counts.tolist() == [0, 0]  # too short for a frame


def test_global_statistics(tmp_path: Path) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, make_form

    rng = np.random.default_rng(0)
    frames = rng.normal(-5, 3, (100, 16))
    sums = {"count": 100, "sum": frames.sum(0), "sum_square": np.square(frames).sum(0)}
    np.savez(tmp_path / "stats.npz", **sums)
    student = student_with_opinions(
        "conformer", normalize="global_mvn",
        normalize_conf={"stats_file": str(tmp_path / "stats.npz")},
    )  # fmt: skip
    run = session(
        make_form(student, WantedExport(sherpa=False)).parts["encoder"], tmp_path / "e.onnx"
    )
    feats = features([61, 40], 0)
    found, _ = run.run(None, {"x": feats.numpy(), "x_lens": np.array([61, 40])})
    for row, length in enumerate([61, 40]):
        right = alone(student, feats[row, :length])
        np.testing.assert_allclose(found[row, : len(right)], right, atol=1e-4)


@pytest.mark.parametrize(("chunk", "left", "factor"), [(1, 1, 4), (3, 20, 2), (8, 5, 4), (7, 9, 6)])
def test_streaming_encoder(tmp_path: Path, chunk: int, left: int, factor: int) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form

    student = student_with_opinions("chunked", conf={"subsampling_factor": factor})
    wanted = WantedExport(streaming=True, chunk_size=chunk, left_frames=left, sherpa=False)
    assert not form_problems(student, wanted)
    form = make_form(student, wanted)
    shape, run = form.stream, session(form.parts["encoder"], tmp_path / "encoder.onnx")
    streams, frames = 3, shape.window + 9 * shape.step
    feats = features([frames] * streams, chunk)
    torches = [ChunkedStream(student.encoder) for _ in range(streams)]
    attention, convolution = (cache.numpy() for cache in shape.caches(streams))
    known = 0
    for begin in range(0, frames - shape.window + 1, shape.step):
        end = begin + shape.window
        found, attention, convolution = run.run(None, {
            "x": feats[:, begin:end].numpy(), "attention_cache": attention,
            "convolution_cache": convolution, "processed_frames": np.full(streams, begin),
        })  # fmt: skip
        for row, stream in enumerate(torches):
            (right,) = stream.push(feats[row : row + 1, known:end])
            with torch.no_grad():
                right = student.joint_network.lin_enc(right.clone())[0]
            np.testing.assert_allclose(found[row], right, atol=1e-4)
        known = end


@pytest.mark.parametrize("streaming", [False, True])
def test_an_adapter_stays(tmp_path: Path, streaming: bool) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems, make_form

    student = student_with_opinions("chunked", postencoder="adapter", postencoder_conf={"size": 4})
    nn.init.normal_(student.postencoder.back.weight)  # a fresh one adds nothing
    wanted = WantedExport(streaming, sherpa=False)
    assert not form_problems(student, wanted)
    form = make_form(student, wanted)
    run = session(form.parts["encoder"], tmp_path / "encoder.onnx")
    feats = features([form.stream.window if streaming else 60], 0)
    given = {"x": feats.numpy(), "x_lens": np.array([feats.size(1)])}
    if streaming:
        attention, convolution = (cache.numpy() for cache in form.stream.caches())
        given = {"x": feats.numpy(), "attention_cache": attention,
                 "convolution_cache": convolution, "processed_frames": np.array([0])}  # fmt: skip
    with torch.no_grad():
        right = student.encoder(feats, torch.tensor([feats.size(1)]))[0]
        right, without = student.postencoder(right, None)[0], right
        right = student.joint_network.lin_enc(right)
        assert not torch.allclose(right, student.joint_network.lin_enc(without), atol=1e-2)
    np.testing.assert_allclose(run.run(None, given)[0], right, atol=1e-4)


def test_predictor_and_joiner(tmp_path: Path) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, make_form

    student = student_with_opinions("conformer")
    parts = make_form(student, WantedExport(sherpa=False)).parts
    predictor = session(parts["decoder"], tmp_path / "decoder.onnx")
    joiner = session(parts["joiner"], tmp_path / "joiner.onnx")
    assert predictor.get_modelmeta().custom_metadata_map == {
        "vocab_size": str(len(TOKENS)), "context_size": "1",
    }  # fmt: skip
    tokens = np.arange(len(TOKENS))[:, None]
    predicted = predictor.run(None, {"y": tokens})[0]
    encoded = torch.randn(len(TOKENS), student.encoder.output_size())
    projected = student.joint_network.lin_enc(encoded).detach().numpy()
    logits = joiner.run(None, {"encoder_out": projected, "decoder_out": predicted})[0]
    with torch.no_grad():
        right = student.joint_network(encoded, student.decoder.embed(torch.arange(len(TOKENS))))
    np.testing.assert_allclose(logits, right, atol=1e-4)


def test_ctc(tmp_path: Path) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, make_form

    student = student_with_opinions("conformer", "ctc")
    run = session(
        make_form(student, WantedExport(sherpa=False)).parts["model"], tmp_path / "model.onnx"
    )
    feats = features([90, 33], 0)
    found, counts = run.run(None, {"x": feats.numpy(), "x_lens": np.array([90, 33])})
    assert run.get_outputs()[0].shape[2] == len(TOKENS)  # where sherpa-onnx looks for it
    for row, length in enumerate([90, 33]):
        encoded = student.encoder(feats[row : row + 1, :length], torch.tensor([length]))[0]
        right = student.ctc.log_softmax(encoded)[0].detach()
        assert counts[row] == len(right)
        np.testing.assert_allclose(found[row, : len(right)], right, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "changes", "wanted", "message"),
    [
        (
            "transducer",
            {"decoder": "lstm", "decoder_conf": {}},
            {"sherpa": True},
            "train with decoder: stateless, or --to onnx",
        ),
        ("transducer", {"encoder": "rnn", "encoder_conf": {}}, {}, "RNNEncoder is not exported"),
        ("transducer", {"frontend": "default", "frontend_conf": {}}, {}, "train with kaldi_fbank"),
        ("transducer", {"frontend_conf": {"high_freq": 0}}, {"sherpa": True}, "--to onnx"),
        ("transducer", {}, {}, "rel_pos_type: latest"),
        ("transducer", {}, {"streaming": True}, "--streaming: .* has no chunks"),
        ("transducer", {}, {"chunk_size": 8}, "--chunk-size: .* has no chunks"),
        ("cif", {}, {"sherpa": True}, "sherpa-onnx does not support cif; use --to onnx"),
        (
            "cif",
            {},
            {"streaming": True},
            "--streaming: a cif student is exported only for whole utterances",
        ),
        ("encoder_only", {}, {}, "EncoderOnlyStudent is not exported"),
        (
            "ctc",
            {"encoder": "chunked", "encoder_conf": ENCODERS["chunked"]},
            {"streaming": True},
            "--left-frames 6: .* whole chunks of 4; give --left-frames 8",
        ),
    ],
)
def test_refused(model: str, changes: dict, wanted: dict, message: str) -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems

    student = tiny_student(model, **changes).eval()
    problems = form_problems(student, WantedExport(**{"sherpa": False} | wanted))
    assert [one for one in problems if re.search(message, one)], problems


def test_streams_that_cannot_be() -> None:
    from distill_asr.experiments.export.kinds import WantedExport, form_problems

    student = student_with_opinions("chunked", normalize="utterance_mvn", conf={"left_frames": 0})
    problems = form_problems(student, WantedExport(streaming=True, chunk_size=0, sherpa=False))
    assert len(problems) == 3
    assert not form_problems(student, WantedExport(chunk_size=0, sherpa=False))
    problems = form_problems(student, WantedExport(chunk_size=-1, left_frames=0, sherpa=False))
    assert [one.partition(":")[0] for one in problems] == ["--chunk-size -1", "--left-frames 0"]
    student.blank_id = 3  # model_conf.sym_blank can name another token
    problems = form_problems(student, WantedExport(chunk_size=0, sherpa=False))
    assert problems == ["blank: is token 3, expected 0; leave model_conf.sym_blank out"]
