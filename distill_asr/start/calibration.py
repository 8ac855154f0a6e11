"""Rates of this machine: a few steps of the students, a few calls of the teachers; kept on disk.

Processor time is measured, with one thread as the recipe's processes have.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import torch

from distill_asr import __version__
from distill_asr.decode.greedy import TransducerGreedySearch
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.search import TransducerSearch, encode
from distill_asr.espnet.cpu_training import update_in_one_pass
from distill_asr.espnet.task import build_untrained
from distill_asr.io.audio import SAMPLE_RATE, resample
from distill_asr.io.files import write_text_atomic
from distill_asr.start.cost import (
    MIB,
    SPOKEN,
    AudioShape,
    CommonRates,
    OwnTeacher,
    OwnTeacherRates,
    Sample,
    StudentRates,
    TeacherRates,
    stored_bytes,
)
from distill_asr.start.probe import processor_seconds
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.teachers.contract import Teacher
from distill_asr.train.cache import caches_states
from distill_asr.train.config import TrainConfig

LONGEST_BATCH = 40.0  # seconds of audio in a measured batch; larger ones are proportional
TOKENS_OF_BPE = 3.5  # characters of a piece
_ALIKE = 1.2  # sizes of audio that differ by less share their rates
_STEPS = 5  # measured, after one that is not
BLANK_BIAS = 8.0  # added to a random student's logit of blank
# frames of blank that a symbol costs in a greedy and in a beam search of 4; measured on mini
SYMBOL_GREEDY, SYMBOL_BEAM = 1.0, 2.5
EPOCH = 0.3  # seconds of processor time besides the audio: checkpoint, averages, logs
OWN_TEACHERS = "distill_asr.start.own_teachers"  # imports transformers' trainer
_OF_TRAINING = ("distill_asr.espnet.task", "distill_asr.train.run", "torch.utils.tensorboard",
                "matplotlib.pyplot")  # fmt: skip
METHOD = 6  # of measuring; rates of another one are measured anew
Rates = TypeVar("Rates", CommonRates, StudentRates, TeacherRates, OwnTeacherRates)


class Calibration:
    """Rates by what they were measured of; measured once.

    Parameters
    ----------
    file : cache.
    say : called with what is being measured.
    """

    def __init__(self, file: Path, say: Callable[[str], None]) -> None:
        self._file = file
        self._say = say
        self._known = _read(file)
        self.measured = 0  # rates that were not known

    def common(self) -> CommonRates:
        """Starting, reading, resampling."""
        return self._rates(CommonRates, "common", {}, _measure_common)

    def student(
        self, config: TrainConfig, audio: AudioShape, options: DecodeOptions
    ) -> StudentRates:
        """Rates of a student, measured unless they are on disk.

        Parameters
        ----------
        config : of its training.
        audio : lengths of its batches and utterances.
        options : of the search.
        """
        parts = ("model", "encoder", "decoder", "joint_net", "frontend", "token", "specaug", "post")
        keys = {key: v for key, v in config.espnet.items() if key.startswith(parts)}
        what = {
            "espnet": keys,
            "shape": [_near(audio.batch_seconds), _near(audio.seconds), _near(audio.spoken)],
            "search": [options.method, options.beam],
        }

        def measure() -> StudentRates:
            return measure_student(config, audio, options)

        return self._rates(StudentRates, config.name, what, measure)

    def teacher(
        self, config: TeacherConfig, sample: Sample, own: OwnTeacher | None = None
    ) -> TeacherRates:
        """Rates of a teacher whose model lies here, measured unless they are on disk.

        Parameters
        ----------
        config : the teacher's file.
        sample : length and texts of its input.
        own : a teacher that is yet to be trained: a random one is measured.
        """
        what = {
            "model": config.model if own is None else asdict(own),
            "layers": [config.kind, config.layers, config.combine, config.context, config.codec],
            "window": config.window,
            "dtype": config.dtype,
            "shape": [_near(sample.seconds), _near(1 + sum(map(len, sample.texts)))],
        }

        def measure() -> TeacherRates:
            if own is None:
                return measure_teacher(config, sample)
            with import_module(OWN_TEACHERS).untrained(own) as folder:
                return measure_teacher(replace(config, model=str(folder)), sample)

        return self._rates(TeacherRates, config.path, what, measure)

    def own_teacher(self, own: OwnTeacher) -> OwnTeacherRates:
        """The training of a recipe's own teacher."""
        files = (Path(own.train), Path(own.train) / "text", *own.config)
        content = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
        what = {"own": asdict(own), "content": content}

        def measure() -> OwnTeacherRates:
            trainings = import_module(OWN_TEACHERS)
            _reset_peak()
            with _one_thread():
                seconds, disk = trainings.training_seconds(own)
            return OwnTeacherRates(seconds, _peak(), disk)

        return self._rates(OwnTeacherRates, f"the training on {own.train}", what, measure)

    def _rates(
        self, kind: type[Rates], name: str, what: dict[str, Any], measure: Callable[[], Rates]
    ) -> Rates:
        key = _key(kind.__name__, what)
        if key in self._known:
            try:
                return kind(**self._known[key])  # type: ignore[arg-type]
            except TypeError:
                pass  # of an older version
        self._say(f"measuring {name} ...")
        rates = measure()
        self.measured += 1
        self._known[key] = asdict(rates)
        text = json.dumps(self._known, indent=1, sort_keys=True)
        write_text_atomic(self._file, text + "\n")
        return rates


def cache_file() -> Path:
    """Where rates are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "distill_asr/calibration.json"


def measure_student(config: TrainConfig, audio: AudioShape, options: DecodeOptions) -> StudentRates:
    """Some steps on noise: forward, backward, clipping, optimiser; validation; decoding.

    Parameters
    ----------
    config : of the training.
    audio : lengths of batches and utterances.
    options : of the search.
    """
    seconds = audio.seconds
    batch_seconds = max(audio.batch_seconds, seconds)
    measured = min(batch_seconds, max(LONGEST_BATCH, seconds))
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokens = _tokens(config)
        student = _build(config, tokens)
        batch = _batch(max(1, round(measured / seconds)), audio, config, len(tokens))
        heard = batch["speech"].numel() / SAMPLE_RATE
        cached = 0.0
        if caches_states(config):  # states of the frozen front-end are computed once
            cached = _encode_once(student, batch) / heard
        _reset_peak()
        train = processor_seconds(_step(student, batch, config.needs_text), _STEPS) / heard
        memory = _peak() * (1 + 0.7 * (batch_seconds / measured - 1))
        student.eval()
        with torch.no_grad():
            valid = processor_seconds(lambda: _loss(student, batch, config.needs_text), 2) / heard
            decode = cached + _decode_rate(student, config, audio, options, valid)
        parameters = sum(one.numel() for one in student.parameters())
    return StudentRates(train, valid, decode, parameters, memory, cached)


def _encode_once(student: Any, batch: dict[str, Any]) -> float:
    """Put the front-end's states into the batch in place of audio; seconds that they take."""
    audio = batch["speech"], batch["speech_lengths"]
    with torch.no_grad():
        seconds = processor_seconds(lambda: student.frontend.encoded(*audio), 2)
        batch["speech"], batch["speech_lengths"] = student.frontend.encoded(*audio)
    return seconds


def _build(config: TrainConfig, tokens: list[str]) -> Any:
    """The student, random, without statistics and distillers."""
    plain: dict[str, Any] = {"normalize": None, "normalize_conf": {}, "distill": {}}
    plain["token_list"] = tokens
    return build_untrained({**config.espnet, **plain})


def _step(student: Any, batch: dict[str, Any], needs_text: bool) -> Callable[[], None]:
    """Forward, backward, clipping, optimiser."""
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4)
    update_in_one_pass(optimiser)

    def step() -> None:
        _loss(student, batch, needs_text).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def measure_teacher(config: TeacherConfig, sample: Sample) -> TeacherRates:
    """Calls with as much audio, or text, as a dump gives it.

    Parameters
    ----------
    config : the teacher's file; it runs on the CPU.
    sample : length and texts of an utterance.

    Raises
    ------
    UserError : the teacher cannot be loaded.
    """
    config = config.on("cpu")
    with _one_thread():
        _reset_peak()
        loaded: list[Teacher] = []
        load = processor_seconds(lambda: loaded.append(load_teacher(config)), 1, warm=False)
        teacher = loaded[0]
        items = _items(teacher.reads, config, sample)
        states: list[np.ndarray] = []
        spent = processor_seconds(lambda: states.extend(teacher.states(items)), 3)
        heard = len(items) * sample.seconds
        positions = sum(map(len, states[: len(items)])) / heard
        stored = positions * stored_bytes(config.codec, teacher.width)
        return TeacherRates(spent / heard, stored, _peak(), load)


def _items(reads: str, config: TeacherConfig, sample: Sample) -> list[Any]:
    """What a teacher reads in one call: noise, transcripts, or pairs of them."""
    texts = sample.texts or ("a" * round(SPOKEN * sample.seconds),)
    if reads == "text":
        return list(texts)
    rng = np.random.default_rng(0)
    count = max(1, int((config.batch_seconds or sample.seconds) / sample.seconds))
    noise = [
        (0.1 * rng.standard_normal(round(sample.seconds * SAMPLE_RATE))).astype(np.float32)
        for _ in range(min(count, 4))
    ]
    if reads == "audio":
        return noise
    return [(one, texts[number % len(texts)]) for number, one in enumerate(noise)]


def _loss(student: Any, batch: dict[str, Any], needs_text: bool) -> torch.Tensor:
    if needs_text:
        loss, _, _ = student(**batch)
        return loss
    encoded, _ = student.encode(batch["speech"], batch["speech_lengths"])
    return encoded.square().mean()


def _length(audio: AudioShape, config: TrainConfig) -> int:
    """Tokens of an utterance."""
    pieces = TOKENS_OF_BPE if config.espnet.get("token_type") == "bpe" else 1.0
    return max(1, round(audio.spoken * audio.seconds / pieces))


def _batch(utterances: int, audio: AudioShape, config: TrainConfig, tokens: int) -> dict[str, Any]:
    samples, length = round(audio.seconds * SAMPLE_RATE), _length(audio, config)
    text = torch.randint(3, max(4, tokens - 1), (utterances, length))
    return {
        "utt_id": [str(number) for number in range(utterances)],
        "speech": 0.1 * torch.randn(utterances, samples),
        "speech_lengths": torch.full((utterances,), samples),
        "text": text,
        "text_lengths": torch.full((utterances,), length),
    }


def _tokens(config: TrainConfig) -> list[str]:
    """The recipe's list, or one of the likely size."""
    file = config.token_list
    if file is not None and Path(file).is_file():
        return Path(file).read_text(encoding="utf-8").splitlines()
    count = 256 if config.espnet.get("token_type") == "bpe" else 40
    return ["<blank>", "<unk>", *map(str, range(count - 3)), "<sos/eos>"]


def _decode_rate(
    student: Any, config: TrainConfig, audio: AudioShape, options: DecodeOptions, forward: float
) -> float:
    """Processor time a second of audio; of a student without text, nothing."""
    if not config.needs_text:
        return 0.0
    if config.model != "transducer":
        return 2 * forward  # the search is a small part of it
    # as a trained student blank in most frames; a random one would emit symbols without end
    student.joint_network.lin_out.bias[0] += BLANK_BIAS
    greedy = options.method == "greedy"
    search = (
        TransducerGreedySearch(student)
        if greedy
        else TransducerSearch(student, options.beam_size, 1)
    )
    speech = 0.1 * torch.randn(round(audio.seconds * SAMPLE_RATE))
    frames = max(1, len(encode(student, speech)))
    encoding = processor_seconds(lambda: encode(student, speech), 2)
    searching = max(0.0, processor_seconds(lambda: search(speech), 2) - encoding)
    symbols = (SYMBOL_GREEDY if greedy else SYMBOL_BEAM) * _length(audio, config) / frames
    return (encoding + searching * (1 + symbols)) / audio.seconds


def _measure_common() -> CommonRates:
    noise = (0.1 * np.random.default_rng(0).standard_normal(60 * 8000)).astype(np.float32)
    wav = io.BytesIO()
    soundfile.write(wav, noise, 8000, format="WAV", subtype="PCM_16")

    def read() -> None:
        wav.seek(0)
        soundfile.read(wav, dtype="float32")

    with _one_thread():
        return CommonRates(
            start=_start("import distill_asr.espnet.task"),
            start_train=_start(f"import {', '.join(_OF_TRAINING)}"),
            start_small=_start("import distill_asr.dump.run"),
            start_teacher=_start(
                "import distill_asr.dump.run; from transformers import HubertModel"
            ),
            read=4 * processor_seconds(read, 5) / 60,  # 16 kHz; and checks, hashes, tables
            resample=2 * processor_seconds(lambda: resample(noise, 8000, SAMPLE_RATE), 3) / 60,
            epoch=EPOCH,
            flops=_flops(),
        )


def _flops() -> float:
    """Multiplications and additions of large matrices, a second of processor time."""
    size = 768
    matrix = torch.randn(size, size)
    return 2 * size**3 / max(processor_seconds(lambda: matrix @ matrix, 5), 1e-9)


def _start(imports: str) -> float:
    """Processor time of an interpreter that imports modules."""
    before = os.times()
    subprocess.run([sys.executable, "-c", imports], check=False, capture_output=True)
    after = os.times()
    user, system = (getattr(after, one) - getattr(before, one)
                    for one in ("children_user", "children_system"))  # fmt: skip
    return user + system


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reset_peak() -> None:
    """Have the kernel forget the peak of this process's memory; where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def _peak() -> float:
    """MiB of memory at most since then."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) * 1024 / MIB
    except (OSError, StopIteration, ValueError):
        return math.nan


def _near(size: float) -> int:
    """The same for sizes that differ little, so that languages share what was measured."""
    return round(math.log(max(size, 1e-3)) / math.log(_ALIKE))


def _key(kind: str, what: dict[str, Any]) -> str:
    """What decides a rate: the measured, the machine, the versions."""
    facts = [kind, what, METHOD, platform.processor(), _cpu(), torch.__version__, __version__]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line for line in lines if line.startswith("model name")), platform.machine())


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}  # measured anew
