"""Which graphs a student becomes, and what a runtime needs to run them.

Legend: N utterances, T feature frames, C their width, F encoder frames, V vocabulary, J width of
the joint network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder
from espnet2.layers.global_mvn import GlobalMVN
from torch import Tensor, nn

from distill_asr.experiments.export.cif_graphs import AllAtOnce, OneByOneDecoder, WeightedFrames
from distill_asr.experiments.export.graphs import (
    CTCHead,
    EncoderGraph,
    JoinerGraph,
    LSTMGraph,
    PredictorGraph,
    adapted,
    encoder_problems,
)
from distill_asr.experiments.export.onnx_file import Signature
from distill_asr.experiments.export.streaming_graph import StreamingGraph, StreamShape, WenetGraph
from distill_asr.experiments.export.waveform_graph import (
    OneWaveform,
    WaveformGraph,
    waveform_problems,
)
from distill_asr.models.encoders.chunked import FULL_CONTEXT, ChunkedEncoder
from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.models.frontends.kaldi_fbank import KaldiFbank
from distill_asr.models.students.cif import CIFStudent
from distill_asr.models.students.ctc import CTCStudent
from distill_asr.models.students.transducer import TransducerStudent

_FRAMES = (83, 50)  # of the two utterances that a graph is traced with ...
SAMPLES = (16000, 9000)  # ... or samples, where it reads the waveform
CONTEXT_SIZE = 1  # tokens that a stateless predictor looks at
_BATCH, TIME = {0: "N"}, {0: "N", 1: "T"}
OUTPUT = {0: "N", 1: "F"}


@dataclass(frozen=True)
class Part:
    """A graph, and how it becomes a file.

    Parameters
    ----------
    example : inputs it is traced with.
    products : its int8 form computes matrix products in 8 bits; else it stores weights so.
    """

    graph: nn.Module
    example: tuple[Tensor, ...]
    signature: Signature
    metadata: Mapping[str, object] = field(default_factory=dict)
    products: bool = True


@dataclass(frozen=True)
class Form:
    """An export: its kind, its graphs by file name, and the sizes of a stream if it streams.

    Parameters
    ----------
    kind : ``cif_ar``, ``cif_nar``, ``ctc``, ``streaming_ctc``, ``transducer`` or
        ``streaming_transducer``.
    cif : settings of integrate-and-fire and of the decoder's loop.
    states : shape of each of a predictor's states, [layers, 1, width]; empty for a stateless one.
    """

    kind: str
    parts: Mapping[str, Part]
    stream: StreamShape | None = None
    cif: Mapping[str, object] | None = None
    states: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class WantedExport:
    """What the user wants.

    Parameters
    ----------
    streaming : the encoder goes on from caches.
    chunk_size, left_frames : of a ``chunked`` encoder; its own where not given.
    sherpa : what is made has to run in sherpa-onnx.
    """

    streaming: bool = False
    chunk_size: int | None = None
    left_frames: int | None = None
    sherpa: bool = True


def form_problems(student: nn.Module, wanted: WantedExport) -> list[str]:
    """Everything that keeps a student from being exported as ``wanted``; empty if nothing does."""
    if reads_waveform(student):
        problems = waveform_problems(student) + _waveform_form_problems(student, wanted)
    else:
        problems = _frontend_problems(student.frontend, wanted.sherpa) + encoder_problems(student)
    problems += _chunk_problems(student, wanted)
    if isinstance(student, TransducerStudent):
        if wanted.sherpa and not isinstance(student.decoder, StatelessDecoder):
            problems.append(
                f"decoder: {type(student.decoder).__name__} has a state, and sherpa-onnx "
                "supports one "
                "only with NeMo's features; train with decoder: stateless, or --to onnx"
            )
    elif isinstance(student, CIFStudent):
        problems += _cif_problems(wanted)
    elif not isinstance(student, CTCStudent):
        problems.append(
            f"model: {type(student).__name__} is not exported; train a transducer, ctc or cif "
            "student"
        )
    elif student.ctc is None:
        problems.append(
            "model_conf.ctc_weight: 0.0 leaves no CTC to export; train with a larger one"
        )
    elif wanted.streaming and isinstance(student.encoder, ChunkedEncoder):
        problems += _streaming_ctc_problems(student, wanted)
    if student.blank_id != 0:
        problems.append(
            f"blank: is token {student.blank_id}, expected 0; leave model_conf.sym_blank out"
        )
    return problems


def _streaming_ctc_problems(student: nn.Module, wanted: WantedExport) -> list[str]:
    """The runtime counts left context in chunks, and scales the samples itself."""
    chunk, left = _chunk(student.encoder, wanted), _left(student.encoder, wanted)
    problems = []
    if chunk > 0 and left % chunk:
        nearest = max(1, round(left / chunk)) * chunk
        problems.append(
            f"--left-frames {left}: a streaming ctc student keeps whole chunks of {chunk}; give "
            f"--left-frames {nearest}"
        )
    if isinstance(student.frontend, KaldiFbank) and not _log_of_power(student.frontend):
        problems.append(
            "frontend_conf: a streaming ctc student is exported only with kaldi_fbank's "
            "defaults of "
            "use_log, use_power and input_scale; train with them"
        )
    return problems


def _log_of_power(frontend: KaldiFbank) -> bool:
    own = KaldiFbank()
    return all(
        getattr(frontend, key) == getattr(own, key)
        for key in ("use_log", "use_power", "input_scale")
    )


def reads_waveform(student: nn.Module) -> bool:
    """Whether samples go in, and no features."""
    return isinstance(student.encoder, HFSpeechEncoder)


def _waveform_form_problems(student: nn.Module, wanted: WantedExport) -> list[str]:
    if not wanted.sherpa:
        return []
    if not isinstance(student, CTCStudent):
        return ["encoder: sherpa-onnx supports hf_speech only for ctc students; use --to onnx"]
    if not student.encoder._input.do_normalize:
        return [
            "encoder_conf.do_normalize: sherpa-onnx always standardises the waveform; use --to onnx"
        ]
    return []


def _cif_problems(wanted: WantedExport) -> list[str]:
    problems = []
    if wanted.sherpa:
        problems.append("model: sherpa-onnx does not support cif; use --to onnx, or train another")
    if wanted.streaming:
        problems.append(
            "--streaming: a cif student is exported only for whole utterances; train a transducer"
        )
    return problems


def _frontend_problems(frontend: nn.Module | None, sherpa: bool) -> list[str]:
    if not isinstance(frontend, KaldiFbank):
        name = "none" if frontend is None else type(frontend).__name__
        return [
            f"frontend: {name} is not exported; train with kaldi_fbank, or --to espnet for a "
            "ctc student"
        ]
    own = KaldiFbank(n_mels=frontend.n_mels)
    window, mel = frontend.weights
    same = all(getattr(frontend, key) == getattr(own, key) for key in OPTIONS)
    if sherpa and not (same and torch.equal(window, own.weights[0])
                       and torch.equal(mel, own.weights[1])):  # fmt: skip
        return [
            "frontend_conf: sherpa-onnx computes kaldi_fbank's defaults at 16 kHz and nothing "
            "else but another n_mels; train with them, or --to onnx"
        ]
    return []


OPTIONS = (
    "shift", "fft_size", "preemphasis", "remove_dc_offset", "snip_edges", "use_log", "use_power",
    "input_scale",
)  # fmt: skip


def _chunk_problems(student: nn.Module, wanted: WantedExport) -> list[str]:
    chunked = isinstance(student.encoder, ChunkedEncoder)
    given = {"--chunk-size": wanted.chunk_size, "--left-frames": wanted.left_frames}
    if not chunked:
        asked = [name for name, value in given.items() if value is not None]
        asked += ["--streaming"] if wanted.streaming else []
        name = type(student.encoder).__name__
        return [f"{one}: encoder {name} has no chunks; train with chunked" for one in asked]
    problems = [
        f"{name} {value}: expected at least {least}"
        for (name, value), least in zip(given.items(), (0, 1), strict=True)
        if value is not None and value < least
    ]
    if not wanted.streaming:
        return problems
    chunk, left = _chunk(student.encoder, wanted), _left(student.encoder, wanted)
    if chunk == FULL_CONTEXT:
        problems.append("--chunk-size 0: is full context; choose a chunk size to stream")
    if left == 0 and wanted.left_frames is None:
        problems.append("encoder_conf.left_frames: 0 leaves no cache; give --left-frames 1 or more")
    if not isinstance(student.normalize, GlobalMVN | None):
        problems.append(
            f"normalize: {type(student.normalize).__name__} needs the whole utterance; train with "
            "global_mvn or none"
        )
    return problems


def _chunk(encoder: ChunkedEncoder, wanted: WantedExport) -> int:
    return encoder.chunk_size if wanted.chunk_size is None else wanted.chunk_size


def _left(encoder: ChunkedEncoder, wanted: WantedExport) -> int:
    return encoder.left_frames if wanted.left_frames is None else wanted.left_frames


def make_form(student: nn.Module, wanted: WantedExport) -> Form:
    """Graphs of a student without ``form_problems``, as ``wanted``.

    Its encoder gets the chunk size and the left context that are wanted.
    """
    if isinstance(student.encoder, ChunkedEncoder):
        student.encoder.chunk_size = _chunk(student.encoder, wanted)
        student.encoder.left_frames = _left(student.encoder, wanted)
    if isinstance(student, CTCStudent):
        if wanted.streaming:
            shape = StreamShape.of(student.encoder, student.encoder.chunk_size,
                                   student.encoder.left_frames)  # fmt: skip
            return Form("streaming_ctc", {"model": _wenet(student, shape)}, shape)
        one = wanted.sherpa and reads_waveform(student)
        return Form("ctc", {"model": _one_waveform(student) if one else _ctc(student)})
    if isinstance(student, CIFStudent):
        return _cif(student)
    parts = {"decoder": _predictor(student), "joiner": _joiner(student)}
    if not wanted.streaming:
        return Form("transducer", {"encoder": _encoder(student)} | parts, states=_states(student))
    shape = StreamShape.of(student.encoder, student.encoder.chunk_size, student.encoder.left_frames)
    parts |= {"encoder": _stream(student, shape)}
    return Form("streaming_transducer", parts, shape, states=_states(student))


def _states(student: nn.Module) -> tuple[int, int, int] | None:
    decoder = student.decoder
    if isinstance(decoder, StatelessDecoder):
        return None
    return decoder.dlayers, 1, decoder.output_size


def _features(student: nn.Module) -> tuple[Tensor, Tensor]:
    """What graphs are traced with: features [N, T, C] or samples [N, S], and their lengths."""
    generator = torch.Generator().manual_seed(0)
    if reads_waveform(student):
        samples = 0.1 * torch.randn(len(SAMPLES), max(SAMPLES), generator=generator)
        return samples, torch.tensor(SAMPLES)
    feats = torch.randn(len(_FRAMES), max(_FRAMES), student.frontend.n_mels, generator=generator)
    return feats, torch.tensor(_FRAMES)


def _whole(student: nn.Module, head: nn.Module) -> nn.Module:
    graph = WaveformGraph if reads_waveform(student) else EncoderGraph
    return graph(student, adapted(student, head))


def _one_waveform(student: nn.Module) -> Part:
    signature = Signature(["x"], ["log_probs"], {"x": TIME, "log_probs": OUTPUT})
    metadata = {"model_type": "omnilingual-asr", "vocab_size": student.vocab_size}
    example = _features(student)[:1]
    graph = OneWaveform(student, adapted(student, CTCHead(student)))
    return Part(graph, example, signature, metadata)


def _ctc(student: nn.Module) -> Part:
    graph = _whole(student, CTCHead(student))
    axes = {"x": TIME, "x_lens": _BATCH, "log_probs": OUTPUT, "log_probs_len": _BATCH}
    signature = Signature(["x", "x_lens"], ["log_probs", "log_probs_len"], axes)
    metadata = {"model_type": "zipformer2_ctc", "vocab_size": student.vocab_size}
    return Part(graph, _features(student), signature, metadata)


def _encoder(student: nn.Module) -> Part:
    graph = _whole(student, student.joint_network.lin_enc)
    axes = {"x": TIME, "x_lens": _BATCH, "encoder_out": OUTPUT, "encoder_out_lens": _BATCH}
    signature = Signature(["x", "x_lens"], ["encoder_out", "encoder_out_lens"], axes)
    metadata = {"model_type": "conformer"}  # by which the runtime's programs know a transducer
    return Part(graph, _features(student), signature, metadata)


def _stream(student: nn.Module, shape: StreamShape) -> Part:
    graph = StreamingGraph(student, shape, adapted(student, student.joint_network.lin_enc))
    streams = {2: "N"}
    names = ["x", "attention_cache", "convolution_cache", "processed_frames"]
    outputs = ["encoder_out", "new_attention_cache", "new_convolution_cache"]
    free = [_BATCH, streams, streams, _BATCH, _BATCH, streams, streams]
    axes = dict(zip([*names, *outputs], free, strict=True))
    count = len(_FRAMES)
    feats = _features(student)[0][:, :1].expand(count, shape.window, -1)
    example = (feats, *shape.caches(count), torch.zeros(count, dtype=torch.int64))
    return Part(graph, example, Signature(names, outputs, axes), shape.metadata())


def _wenet(student: nn.Module, shape: StreamShape) -> Part:
    graph = WenetGraph(StreamingGraph(student, shape, adapted(student, CTCHead(student))))
    names = ["x", "offset", "required_cache_size", "attention_cache", "convolution_cache",
             "attention_mask"]  # fmt: skip
    outputs = ["log_probs", "new_attention_cache", "new_convolution_cache"]
    feats = _features(student)[0][:1, :1].expand(1, shape.window, -1)
    attention, convolution = shape.caches()
    attention = torch.cat([attention, attention], dim=-1).transpose(1, 2)
    mask = torch.ones(1, 1, shape.left + shape.chunk, dtype=torch.bool)
    left = torch.tensor([shape.left])
    example = (feats, left, left, attention, convolution.permute(0, 2, 3, 1), mask)
    return Part(graph, example, Signature(names, outputs), shape.wenet_metadata(student.vocab_size))


def _predictor(student: nn.Module) -> Part:
    signature = Signature(["y"], ["decoder_out"], {"y": _BATCH, "decoder_out": _BATCH})
    metadata = {"vocab_size": student.vocab_size, "context_size": CONTEXT_SIZE}
    tokens = torch.tensor([[0], [1]])
    if isinstance(student.decoder, StatelessDecoder):
        return Part(PredictorGraph(student), (tokens,), signature, metadata, products=False)
    names, outputs = ["y", "hidden", "cell"], ["decoder_out", "new_hidden", "new_cell"]
    axes = {"y": _BATCH, "decoder_out": _BATCH} | {key: {1: "N"} for key in names[1:] + outputs[1:]}
    states = student.decoder.init_state(len(tokens))
    graph, signature = LSTMGraph(student), Signature(names, outputs, axes)
    return Part(graph, (tokens, *states), signature, metadata, products=False)


def _joiner(student: nn.Module) -> Part:
    axes = dict.fromkeys(("encoder_out", "decoder_out", "logit"), _BATCH)
    signature = Signature(["encoder_out", "decoder_out"], ["logit"], axes)
    width = student.joint_network.lin_enc.out_features
    metadata = {"joiner_dim": width}
    example = (torch.zeros(2, width), torch.ones(2, width))
    return Part(JoinerGraph(student), example, signature, metadata)


def _cif(student: nn.Module) -> Form:
    decoder, (threshold, tail) = student.decoder, student.limits
    facts = {"threshold": threshold, "tail_threshold": tail, "start": student.sos,
             "end": student.eos, "width": student.width}  # fmt: skip
    axes = {"x": TIME, "x_lens": _BATCH, "frames": OUTPUT, "weights": OUTPUT, "frames_len": _BATCH}
    signature = Signature(["x", "x_lens"], ["frames", "weights", "frames_len"], axes)
    encoder = Part(
        WeightedFrames(_whole(student, nn.Identity()), student.weights),
        _features(student),
        signature,
        facts,
    )
    if decoder.autoregressive:
        heads = decoder.layers[0].heads
        facts |= {"layers": len(decoder.layers), "heads": heads}
        parts = {"encoder": encoder, "decoder": _one_by_one(student, heads)}
        return Form("cif_ar", parts, cif=facts)
    places = {0: "N", 1: "U"}
    axes = {"fired": places, "fired_lens": _BATCH, "logits": places}
    signature = Signature(["fired", "fired_lens"], ["logits"], axes)
    example = (torch.ones(2, 5, student.width), torch.tensor([5, 3]))
    return Form("cif_nar", {"encoder": encoder, "decoder": Part(AllAtOnce(student), example,
                                                                signature)}, cif=facts)  # fmt: skip


def _one_by_one(student: nn.Module, heads: int) -> Part:
    names, outputs = ["y", "previous", "current", "place", "past"], ["logits", "new_past"]
    axes = dict.fromkeys([*names[:-1], "logits"], _BATCH)
    axes |= {"past": {2: "N", 4: "P"}, "new_past": {2: "N", 4: "P1"}}
    width, layers = student.width, len(student.decoder.layers)
    past = torch.ones(layers, 2, 2, heads, 3, width // heads)
    example = (torch.tensor([1, 2]), torch.zeros(2, width), torch.ones(2, width),
               torch.tensor([3, 3]), past)  # fmt: skip
    return Part(OneByOneDecoder(student), example, Signature(names, outputs, axes))
