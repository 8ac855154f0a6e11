"""Recognisers as teachers: a trained student of ours, or a stock ESPnet model.

Legend: N samples, T encoder frames, U tokens of a transcript, V vocabulary, D encoder width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_asr.distill.states import PATH_COLUMNS
from distill_asr.errors import UserError
from distill_asr.pretrained.loading import SAMPLE_RATE, fingerprint, require_device
from distill_asr.pretrained.probing import measure
from distill_asr.teachers.config import TeacherConfig

AVERAGED = "valid.loss.ave.pth"  # what a training of ours ends with
# of ESPnet's config: what a recogniser computes, besides its weights
FACTS = (
    "model", "model_conf", "frontend", "frontend_conf", "normalize", "preencoder",
    "preencoder_conf", "encoder", "encoder_conf", "postencoder", "postencoder_conf", "decoder",
    "decoder_conf", "joint_net_conf", "ctc_conf",
)  # fmt: skip
TEXT_FACTS = ("token_type", "cleaner", "g2p", "non_linguistic_symbols", "preprocessor_conf")


class RecogniserTeacher:
    """A frozen recogniser; build it with ``from_config``.

    With ``output: posteriors`` it gives CTC log-posteriors [T, V]. With ``output: path`` it gives
    the one-best path of a transducer through the lattice of a transcript: a row
    ``[t, u, symbol, log-softmax (V)]`` for each node visited, see ``lattice_path``. ``symbol`` and
    the posteriors' columns are numbers of ``tokens``.

    Utterances run alone: ESPnet's encoders would see the padding of a batch.

    Attributes
    ----------
    reads : ``audio``, or ``audio+text`` for a path, whose transcript may be a pseudo-label.
    step_ms : duration of one frame t.
    width : V, or 3 + V for a path.
    tokens : the recogniser's token list; only a student with the same one can learn from it.
    blank_id : of ``tokens``.
    fingerprint : SHA-256 over weights, config, token list, tokenisation and output.
    """

    max_size = None

    def __init__(self, model: Any, args: Any, config: TeacherConfig, device: str) -> None:
        self.tokens = tuple(model.token_list)
        self.blank_id = int(model.blank_id)
        self.reads, self.width, self._answer = _output(model, args, config)
        self.fingerprint = fingerprint(model.state_dict(), _facts(self.tokens, args, config))
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
        require_device(device)
        model, args = _load(config)
        _require_audio(config, args)
        return cls(model, args, config, device)

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
        float32 [T_i, V], or [nodes, 3 + V] for a path.
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
                f"{len(waveform) / SAMPLE_RATE:.1f} s; drop utterances that long"
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


def _output(model: Any, args: Any, config: TeacherConfig) -> tuple[str, int, Callable]:
    """Give what is read, the width, and the function from encoder output and words to rows."""
    where = f"{config.path}: output: {config.output} given, but {config.model}"
    vocabulary = len(model.token_list)
    if config.output == "posteriors":
        if getattr(model, "ctc", None) is None:
            raise UserError(f"{where} has no CTC; use one with ctc_weight above 0")
        return "audio", vocabulary, lambda encoded, _: model.ctc.log_softmax(encoded)[0]
    if getattr(model, "joint_network", None) is None:
        raise UserError(f"{where} is no transducer; use one, or `output: posteriors`")
    return "audio+text", PATH_COLUMNS + vocabulary, _path_function(model, args)


def _path_function(model: Any, args: Any) -> Callable[[Tensor, str], Tensor]:
    from distill_asr.espnet.task import DistillTask

    to_tokens = DistillTask.build_preprocess_fn(args, train=False)

    def path(encoded: Tensor, words: str) -> Tensor:
        tokens = torch.from_numpy(to_tokens("", {"text": words})["text"]).to(encoded.device)
        history = torch.nn.functional.pad(tokens.long(), (1, 0), value=model.blank_id)[None]
        model.decoder.set_device(encoded.device)  # it remembers where it was built
        predicted = model.decoder(history)[0]
        return lattice_path(model.joint_network, encoded[0], predicted, model.blank_id)

    return path


def _load(config: TeacherConfig) -> tuple[Any, Any]:
    """Give the model and ESPnet's arguments it was built from."""
    import argparse

    from distill_asr.espnet.task import DistillTask
    from distill_asr.experiments.student import read_experiment

    directory = Path(config.model).expanduser()
    if not (directory / "config.yaml").is_file():
        raise UserError(
            f"{config.path}: model: {config.model} holds no config.yaml; expected the directory of "
            "an experiment (`distill-asr train`), or the one in an ESPnet model that does: get it "
            "with `hf download <model> --local-dir <directory>`"
        )
    checkpoint = _checkpoint(config, directory)
    content, weights = read_experiment(directory, checkpoint)
    problems = _find_files(content, directory)
    if problems:
        raise UserError([f"{directory / 'config.yaml'}: {problem}" for problem in problems])
    args = argparse.Namespace(**content, distill={}, distill_teachers={})
    try:
        model = DistillTask.build_model(args)
        model.load_state_dict(weights, strict=True)
    except Exception as error:  # whatever ESPnet's classes have against their arguments
        raise UserError(
            f"{directory}: no recogniser that this ESPnet can build from config.yaml and "
            f"{checkpoint} ({type(error).__name__}: {error})"
        ) from error
    return model, args


def _checkpoint(config: TeacherConfig, directory: Path) -> str:
    """The file asked for, the averaged one, or the only one there is."""
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


def _find_files(content: dict[str, Any], directory: Path) -> list[str]:
    """Point what the config names at the files; ESPnet's models name them from their own root."""
    problems = []
    normalize = content.get("normalize_conf") or {}
    for place, key in ((normalize, "stats_file"), (content, "bpemodel")):
        if not place.get(key):
            continue
        named = Path(place[key])
        places = [named, *(parent / named for parent in directory.resolve().parents)]
        places.append(directory / named.name)
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            problems.append(f"{key}: {named} is neither there nor in {directory}; put it there")
        else:
            place[key] = str(found)
    return problems


def _require_audio(config: TeacherConfig, args: Any) -> None:
    from distill_asr.espnet.task import sampling_rate

    where = f"{config.path}: model: {config.model}"
    if args.input_size not in (None, 1):  # 1: audio goes to the encoder as it is
        raise UserError(f"{where} reads features, not audio; choose one with a front-end")
    if (rate := sampling_rate(args)) != SAMPLE_RATE:
        raise UserError(f"{where} wants {rate} Hz audio, data is {SAMPLE_RATE} Hz")


def _facts(tokens: tuple[str, ...], args: Any, config: TeacherConfig) -> dict[str, Any]:
    facts = {name: getattr(args, name, None) for name in FACTS}
    facts |= {"tokens": tokens, "output": config.output}
    if config.output == "path":
        facts |= {name: getattr(args, name, None) for name in TEXT_FACTS}
        if args.bpemodel:
            facts["bpemodel"] = hashlib.sha256(Path(args.bpemodel).read_bytes()).hexdigest()
    return facts
