"""The directory that an export is: models, tokens, test recordings, words, card and checksums."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import nn

import distill_asr.espnet  # noqa: F401  first, since it imports ESPnet silently
from distill_asr import __version__
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.export import recognise, sherpa
from distill_asr.experiments.export.card import Card, write_card
from distill_asr.experiments.export.directory import (
    new_directory,
    require_finished,
    write_sha256sums,
)
from distill_asr.experiments.export.expected import Expected, tail_samples
from distill_asr.experiments.export.kinds import (
    OPTIONS,
    Form,
    Part,
    WantedExport,
    form_problems,
    make_form,
    reads_waveform,
)
from distill_asr.experiments.export.onnx_file import (
    OPSET,
    halve_weights,
    quantise,
    store_in_8_bits,
    write_graph,
)
from distill_asr.experiments.export.symbols import UNKNOWN, Words, plain, symbols
from distill_asr.experiments.student import load_student
from distill_asr.io.checksum import file_sha256

_FACTS, WAVS, _WORDS = "export.json", "test_wavs", "words.txt"


@dataclass(frozen=True)
class Order:
    """What is to be exported, and how.

    Parameters
    ----------
    wavs : prepared audio, path by utterance, that becomes ``test_wavs``.
    quantize : forms beside float32: ``int8``, ``fp16``.
    command : as typed.
    """

    experiment: Path
    output: Path
    checkpoint: str
    wanted: WantedExport
    wavs: dict[str, str]
    quantize: Sequence[str] = ()
    command: str = ""
    licences: Sequence[str] = ()


@dataclass
class Made:
    """What was written and tried."""

    facts: dict[str, Any]
    expected: dict[str, str] = field(default_factory=dict)  # words by file
    ran: list[str] = field(default_factory=list)  # runtimes that gave the same words
    differing: dict[str, int] = field(default_factory=dict)  # utterances, by smaller form
    factors: dict[str, float] = field(default_factory=dict)  # real-time factor, by runtime and form

    def tried(self) -> dict[str, Any]:
        """What the card tells of the trial."""
        return {"expected": self.expected, "ran": self.ran, "differing": self.differing,
                "factors": self.factors}  # fmt: skip


def export_product(order: Order) -> Made:
    """Write ``order.output``; nothing is left of it if anything fails.

    Raises
    ------
    UserError : the student cannot be exported, or the export gives other words.
    """
    require_finished(order.experiment, order.checkpoint)
    student, config = load_student(order.experiment, order.checkpoint)
    problems = form_problems(student, order.wanted)
    if problems:
        raise UserError([f"{order.experiment}: {problem}" for problem in problems])
    form = make_form(student, order.wanted)
    with new_directory(order.output) as directory:
        made = Made(_facts(order, student, config, form))
        _write_models(directory, form, order.quantize)
        _write_companions(directory, student, config, made.facts)
        _try(directory, order, student, config, form, made)
        card = Card.of(order.experiment, student, config, made.facts, made.tried(),
                       list(order.licences))  # fmt: skip
        write_card(directory, card)
        write_sha256sums(directory)
    return made


def _facts(order: Order, student: nn.Module, config: ModelConfig, form: Form) -> dict[str, Any]:
    """Facts for a runtime and a reader; ``export.json``."""
    tokens = config.token_list
    return {
        "kind": form.kind,
        "models": {
            name: {"fp32": f"{name}.onnx"}
            | {small: f"{name}.{small}.onnx" for small in order.quantize}
            for name in form.parts
        },
        "sample_rate": config.rate,
        "feature_dim": None if reads_waveform(student) else student.frontend.n_mels,
        "unk": tokens.index(UNKNOWN) if UNKNOWN in tokens else None,
        "tail_samples": tail_samples(student, form),
        "stream": form.stream and form.stream.metadata(),
        "cif": form.cif,
        "states": form.states,
        "sherpa": order.wanted.sherpa,
        "experiment": str(order.experiment),
        "checkpoint": {
            "name": order.checkpoint,
            "sha256": file_sha256(order.experiment / order.checkpoint),
        },
        "command": order.command,
        "versions": {"distill_asr": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
    }


def _write_models(directory: Path, form: Form, quantize: Sequence[str]) -> None:
    for name, part in form.parts.items():
        path = directory / f"{name}.onnx"
        write_graph(part.graph, part.example, path, part.signature, part.metadata)
        for small in quantize:
            _write_smaller(path, directory / f"{name}.{small}.onnx", small, part)


def _write_smaller(path: Path, target: Path, small: str, part: Part) -> None:
    if small == "fp16":
        halve_weights(path, target)
    elif part.products:
        quantise(path, target)
    else:
        store_in_8_bits(path, target)


def _write_companions(
    directory: Path, student: nn.Module, config: ModelConfig, facts: dict[str, Any]
) -> None:
    """Everything but models, recordings and card."""
    names = symbols(config)
    lines = "".join(f"{name} {number}\n" for number, name in enumerate(names))
    (directory / "tokens.txt").write_text(lines, encoding="utf-8")
    bpe = Path(config.bpemodel) if config.bpemodel else None
    if bpe is not None and bpe.is_file():
        shutil.copyfile(bpe, directory / "bpe.model")
    if not reads_waveform(student):
        window, mel = student.frontend.weights
        options = {key: getattr(student.frontend, key) for key in OPTIONS}
        np.savez(
            directory / "features.npz",
            window=window.numpy(),
            mel=mel.numpy(),
            options=json.dumps(options),
        )
    shutil.copyfile(recognise.__file__, directory / "recognise.py")
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (directory / _FACTS).write_text(f"{text}\n", encoding="utf-8")


def _try(
    directory: Path,
    order: Order,
    student: nn.Module,
    config: ModelConfig,
    form: Form,
    made: Made,
) -> None:
    """Recognise the test recordings here and there.

    Raises
    ------
    UserError : with every recording whose words differ.
    """
    speech = _copy_wavs(directory / WAVS, order.wavs, made.facts["sample_rate"])
    audio = dict(zip(speech, order.wavs.values(), strict=True))
    search = Expected(student, form, made.facts["unk"])
    words = Words(config, symbols(config))
    made.expected, made.factors["PyTorch fp32"] = _timed(
        lambda samples: words(search(torch.from_numpy(samples))), speech, made.facts["sample_rate"]
    )
    lines = "".join(f"{name} {text}".rstrip() + "\n" for name, text in made.expected.items())
    (directory / WAVS / _WORDS).write_text(lines, encoding="utf-8")
    problems = []
    for runtime, found in _run(directory, speech, made).items():
        different = [name for name in speech if found[name] != made.expected[name]]
        problems += [
            f"{audio[name]}: {runtime} gives {found[name]!r}, PyTorch "
            f"{made.expected[name]!r}; nothing was written. This should not happen: please report "
            "it with the experiment's config.yaml"
            for name in different
        ]
        made.ran.append(runtime)
    if problems:
        raise UserError(problems)
    for small in order.quantize:
        found = _run(directory, speech, made, small)["onnxruntime"]
        made.differing[small] = sum(found[name] != made.expected[name] for name in speech)


def _copy_wavs(directory: Path, wavs: dict[str, str], rate: int) -> dict[str, np.ndarray]:
    """Write 16-bit files; samples by file name, as they are in the files."""
    directory.mkdir()
    speech = {}
    for number, (utt, path) in enumerate(wavs.items()):
        try:
            samples, found = soundfile.read(path, dtype="float32")
        except (soundfile.LibsndfileError, OSError) as error:
            raise UserError(f"{utt}: {path}: {error}; give other audio by --wavs") from error
        if samples.ndim > 1 or found != rate:
            raise UserError(
                f"{utt}: {path}: {found} Hz, expected {rate} Hz mono; run `distill-asr prepare`"
            )
        name = f"{number}.wav"  # ids may hold what no file name can
        soundfile.write(directory / name, samples, rate, subtype="PCM_16")
        speech[name] = soundfile.read(directory / name, dtype="float32")[0]
    return speech


def _run(
    directory: Path, speech: dict[str, np.ndarray], made: Made, small: str = "fp32"
) -> dict[str, dict[str, str]]:
    """Words by file, by runtime; sherpa-onnx where it is installed and the export is for it."""
    facts, found = made.facts, {}
    try:
        recogniser = recognise.Recogniser(directory, small)
    except Exception as error:  # ONNX Runtime has errors of its own, such as InvalidGraph
        raise UserError(
            f"onnxruntime {version('onnxruntime')} does not load the models, which have ONNX opset "
            f"{OPSET} ({str(error).strip().splitlines()[0]}); nothing was written. Install a newer "
            "one: pip install --upgrade onnxruntime"
        ) from error
    runtimes = {"onnxruntime": lambda samples: plain(recogniser(samples))}
    if facts["sherpa"] and sherpa.installed():
        other = sherpa.SherpaRecogniser(directory, facts, small)
        runtimes["sherpa-onnx"] = lambda samples: plain(other([samples])[0])
    for name, run in runtimes.items():
        found[name], made.factors[f"{name} {small}"] = _timed(run, speech, facts["sample_rate"])
    return found


def _timed(
    run: Callable[[np.ndarray], str], speech: dict[str, np.ndarray], rate: int
) -> tuple[dict[str, str], float]:
    """Words by file, and the processor time for a second of audio."""
    run(next(iter(speech.values()), np.zeros(rate, np.float32)))  # the first one warms up
    begin = time.process_time()
    found = {name: run(samples) for name, samples in speech.items()}
    seconds = sum(map(len, speech.values())) / rate
    return found, (time.process_time() - begin) / max(seconds, 1 / rate)
