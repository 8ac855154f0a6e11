"""Recognisers as teachers: a trained student of this package, or a stock ESPnet model.

Legend: N samples, T encoder frames, U tokens of a transcript, V vocabulary, D encoder width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_asr.distill.states import PATH_COLUMNS
from distill_asr.errors import UserError
from distill_asr.espnet.task import DistillTask
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.layout import AVERAGED, CONFIG
from distill_asr.experiments.student import build, fit, read_student
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.checksum import file_sha256
from distill_asr.pretrained.loading import fingerprint, require_device
from distill_asr.pretrained.probing import measure
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.contract import Teacher

# of ESPnet's config: what a recogniser computes, besides its weights
_FACTS = (
    "model", "model_conf", "frontend", "frontend_conf", "normalize", "preencoder",
    "preencoder_conf", "encoder", "encoder_conf", "postencoder", "postencoder_conf", "decoder",
    "decoder_conf", "joint_net_conf", "ctc_conf",
)  # fmt: skip
TEXT_FACTS = ("token_type", "cleaner", "g2p", "non_linguistic_symbols", "preprocessor_conf")


class RecogniserTeacher(Teacher):
    """A frozen recogniser; build it with ``from_config``.

    With ``output: posteriors`` it gives CTC log-posteriors [T, V], with ``output: states`` the
    encoder's output [T, D]. With ``output: path`` it gives
    the one-best path of a transducer through the lattice of a transcript: a row
    ``[t, u, symbol, log-softmax (V)]`` for each node visited, see ``lattice_path``. ``symbol`` and
    the posteriors' columns are numbers of ``tokens``.

    Utterances run alone: ESPnet's encoders would see the padding of a batch.

    Attributes
    ----------
    reads : ``audio``, or ``audio+text`` for a path, whose transcript may be a pseudo-label.
    step_ms : duration of one frame t.
    width : V, 3 + V for a path, D for states.
    tokens : the recogniser's token list; only a student with the same one can learn from it. None
        for states.
    blank_id : of ``tokens``.
    fingerprint : SHA-256 over weights, config, token list, tokenisation and output.
    """

    max_size = None

    def __init__(
        self, model: Any, trained: ModelConfig, config: TeacherConfig, device: str
    ) -> None:
        tokens = tuple(model.token_list)
        self.tokens = None if config.output == "states" else tokens
        self.blank_id = int(model.blank_id)
        self.reads, self.width, self._answer = _output(model, trained, config)
        self.fingerprint = fingerprint(model.state_dict(), _facts(tokens, trained, config))
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device
        with torch.inference_mode():
            step_ms, self.min_samples = measure(lambda w: self._encode(w).shape[1], SAMPLE_RATE)
        self.step_ms = step_ms

    @classmethod
    def from_config(cls, config: TeacherConfig, device: str = "cpu") -> RecogniserTeacher:
        """Load an experiment directory, or ESPnet's config.yaml with its weights beside it.

        Raises
        ------
        UserError : files are missing, weights that do not fit the config, a recogniser without
            the output asked for or for other audio, no device.
        """
        if config.output == "words":
            raise UserError(
                f"{config.path}: output: words are what `distill-asr pseudo-label --teacher` "
                "writes; targets need `output: posteriors` or `output: path`"
            )
        require_device(device)
        model, trained = _load(config)
        _require_audio(config, trained)
        return cls(model, trained, config, device)

    def size(self, item: Any) -> int:
        """Number of samples."""
        return len(item[0] if self.reads == "audio+text" else item)

    def states(self, items: list[Any]) -> list[np.ndarray]:
        """Give the output for each utterance.

        Parameters
        ----------
        items : waveforms, float32 [N_i] at 16 kHz, each of at least ``min_samples``; for a path,
            pairs of a waveform and its words.

        Returns
        -------
        float32 [T_i, V], [nodes, 3 + V] for a path, or [T_i, D] for states.
        """
        pairs = items if self.reads == "audio+text" else [(item, "") for item in items]
        return [self._states(waveform, words) for waveform, words in pairs]

    def _states(self, waveform: np.ndarray, words: str) -> np.ndarray:
        if len(waveform) < self.min_samples:
            raise ValueError(f"{len(waveform)} samples, shorter than {self.min_samples}")
        try:
            with torch.inference_mode():
                return self._answer(self._encode(waveform), words).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"device {self._device}: out of memory with an utterance of "
                f"{len(waveform) / SAMPLE_RATE:.1f} s; leave such utterances out (`distill-asr "
                "prepare --max-duration`)"
            ) from error

    def _encode(self, waveform: np.ndarray) -> Tensor:
        """Give the encoder's output [1, T, D]."""
        speech = torch.from_numpy(waveform)[None].to(self._device)
        encoded, _ = self._model.encode(speech, torch.tensor([len(waveform)], device=self._device))
        return encoded[0] if isinstance(encoded, tuple) else encoded  # beside inner CTC outputs


def lattice_path(
    joint: Callable[[Tensor, Tensor], Tensor], encoded: Tensor, predicted: Tensor, blank: int
) -> Tensor:
    """Walk through a transducer's lattice, always along the likeliest symbol.

    From node (0, 0) on: blank leads to (t + 1, u), any other symbol to (t, u + 1), until the walk
    leaves the lattice (Yang, Li, Woodland 2022, arXiv 2110.03334, as in the first author's code).

    Parameters
    ----------
    joint : joint network, frames [..., D] and predictions [..., P] to logits [..., V].
    encoded : [T, D].
    predicted : [U + 1, P], of the transcript; row u has seen its first u tokens.

    Returns
    -------
    [nodes, 3 + V], rows ``t, u, symbol, log-softmax (V)``.
    """
    rows, t, u = [], 0, 0
    while t < len(encoded) and u < len(predicted):
        scores = joint(encoded[t], predicted[u]).float().log_softmax(dim=-1)
        symbol = int(scores.argmax())
        rows.append(torch.cat([scores.new_tensor([t, u, symbol]), scores]))
        t, u = (t + 1, u) if symbol == blank else (t, u + 1)
    return torch.stack(rows)


def _output(model: Any, trained: ModelConfig, config: TeacherConfig) -> tuple[str, int, Callable]:
    """Give what is read, the width, and the function from encoder output and words to rows."""
    where = f"{config.path}: output: {config.output} given, but {config.model}"
    vocabulary = len(model.token_list)
    if config.output == "states":
        return "audio", model.encoder.output_size(), lambda encoded, _: encoded[0]
    if config.output == "posteriors":
        if getattr(model, "ctc", None) is None:
            raise UserError(f"{where} has no CTC; use one with ctc_weight above 0")
        return "audio", vocabulary, lambda encoded, _: model.ctc.log_softmax(encoded)[0]
    if getattr(model, "joint_network", None) is None:
        raise UserError(f"{where} is not a transducer; use one, or `output: posteriors`")
    return "audio+text", PATH_COLUMNS + vocabulary, _path_function(model, trained)


def _path_function(model: Any, trained: ModelConfig) -> Callable[[Tensor, str], Tensor]:
    to_tokens = DistillTask.build_preprocess_fn(trained.to_espnet(), train=False)

    def path(encoded: Tensor, words: str) -> Tensor:
        tokens = torch.from_numpy(to_tokens("", {"text": words})["text"]).to(encoded.device)
        history = torch.nn.functional.pad(tokens.long(), (1, 0), value=model.blank_id)[None]
        model.decoder.set_device(encoded.device)  # it remembers where it was built
        predicted = model.decoder(history)[0]
        return lattice_path(model.joint_network, encoded[0], predicted, model.blank_id)

    return path


def _load(config: TeacherConfig) -> tuple[Any, ModelConfig]:
    """Give the model and the config it was built from."""
    directory = Path(config.model).expanduser()
    if not (directory / CONFIG).is_file():
        raise UserError(
            f"{config.path}: model: {config.model} holds no {CONFIG}; expected the directory of "
            "an experiment (`distill-asr train`), or the one in an ESPnet model that does: get it "
            "with `hf download <model> --local-dir <directory>`"
        )
    checkpoint = _checkpoint(config, directory)
    trained, weights = read_student(directory, checkpoint)
    try:
        model = build(trained)
    except Exception as error:  # ESPnet's classes may raise anything for wrong arguments
        raise UserError(
            f"{directory}: no recogniser that this ESPnet can build from {CONFIG} "
            f"({type(error).__name__}: {error})"
        ) from error
    fit(model, weights, directory / checkpoint)
    return model, trained


def _checkpoint(config: TeacherConfig, directory: Path) -> str:
    """The file that the config names, the averaged one, or the only one there is."""
    if config.checkpoint is not None:
        return config.checkpoint
    found = sorted(path.name for path in directory.glob("*.pth"))
    if AVERAGED in found:
        return AVERAGED
    if len(found) != 1:
        raise UserError(
            f"{config.path}: checkpoint: missing, and {directory} holds {len(found)} of them "
            f"({', '.join(found) or 'no *.pth'}); name one"
        )
    return found[0]


def _require_audio(config: TeacherConfig, trained: ModelConfig) -> None:
    where = f"{config.path}: model: {config.model}"
    if trained.values.get("input_size") not in (None, 1):  # 1: audio goes to the encoder as it is
        raise UserError(f"{where} reads features, not audio; choose one with a front-end")
    if trained.rate != SAMPLE_RATE:
        raise UserError(
            f"{where} needs audio at {trained.rate} Hz, but prepared data has {SAMPLE_RATE} Hz; "
            "choose another model"
        )


def _facts(tokens: tuple[str, ...], trained: ModelConfig, config: TeacherConfig) -> dict[str, Any]:
    facts = {name: trained.values.get(name) for name in _FACTS}
    facts |= {"tokens": tokens, "output": config.output}
    if config.output == "path":
        facts |= {name: trained.values.get(name) for name in TEXT_FACTS}
        if trained.bpemodel:
            facts["bpemodel"] = file_sha256(trained.bpemodel)
    return facts
