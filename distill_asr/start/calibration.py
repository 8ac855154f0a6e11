"""Rates of this machine: a few steps of the students, a few calls of the teachers; kept on disk.

Processor time is measured, with one thread as the recipe's processes have, and brought to what an
idle machine takes (``probe.py``).
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
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import torch

from distill_asr import __version__
from distill_asr.decode.greedy import TransducerGreedySearch
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.search import TransducerSearch, encode
from distill_asr.espnet.task import build_untrained
from distill_asr.io.audio import SAMPLE_RATE, resample
from distill_asr.io.files import write_text_atomic
from distill_asr.start.cost import MIB, AudioShape, CommonRates, StudentRates, TeacherRates
from distill_asr.start.probe import Reference, idle_seconds
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.train.config import TrainConfig

LONGEST_BATCH = 40.0  # seconds of audio in a measured batch; larger ones are proportional
TOKENS_OF_BPE = 3.5  # characters of a piece
_STEPS = 5  # measured, after one that is not
BLANK_BIAS = 8.0  # added to a random student's logit of blank
# frames of blank that a symbol costs in a greedy and in a beam search of 4; measured on mini
SYMBOL_GREEDY, SYMBOL_BEAM = 1.0, 2.5
EPOCH = 0.2  # seconds of processor time besides the audio: checkpoint, averages, logs
METHOD = 3  # of measuring; rates of another one are measured anew
Rates = TypeVar("Rates", CommonRates, StudentRates, TeacherRates)


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
        """A student by its config; ``options``: of the search."""
        parts = ("model", "encoder", "decoder", "joint_net", "frontend", "token", "specaug", "post")
        keys = {key: v for key, v in config.espnet.items() if key.startswith(parts)}
        what = {
            "espnet": keys,
            "batch": round(audio.batch_seconds),
            "seconds": round(audio.seconds, 1),
            "spoken": round(audio.spoken),
            "search": [options.method, options.beam],
        }

        def measure() -> StudentRates:
            return measure_student(config, audio, options)

        return self._rates(StudentRates, config.name, what, measure)

    def teacher(self, config: TeacherConfig, seconds: float) -> TeacherRates:
        """A teacher whose model lies here."""
        what = {"model": config.model, "layers": config.layers, "codec": config.codec,
                "window": config.window, "dtype": config.dtype,
                "seconds": round(seconds, 1)}  # fmt: skip
        return self._rates(
            TeacherRates, config.path, what, lambda: measure_teacher(config, seconds)
        )

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
    """Some steps on noise: forward, backward, clipping, optimiser; validation; decoding."""
    seconds = audio.seconds
    batch_seconds = max(audio.batch_seconds, seconds)
    measured = min(batch_seconds, max(LONGEST_BATCH, seconds))
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokens = _tokens(config)
        student = _build(config, tokens)
        batch = _batch(max(1, round(measured / seconds)), audio, config, len(tokens))
        heard = batch["speech"].numel() / SAMPLE_RATE
        _reset_peak()
        train = idle_seconds(_step(student, batch, config.needs_text), _STEPS) / heard
        memory = _peak() * (1 + 0.7 * (batch_seconds / measured - 1))
        student.eval()
        with torch.no_grad():
            valid = idle_seconds(lambda: _loss(student, batch, config.needs_text), 2) / heard
            decode = _decode_rate(student, config, audio, options, valid)
        parameters = sum(one.numel() for one in student.parameters())
    return StudentRates(train, valid, decode, parameters, memory)


def _build(config: TrainConfig, tokens: list[str]) -> Any:
    """The student, random, without statistics and distillers."""
    plain: dict[str, Any] = {"normalize": None, "normalize_conf": {}, "distill": {}}
    plain["token_list"] = tokens
    return build_untrained({**config.espnet, **plain})


def _step(student: Any, batch: dict[str, Any], needs_text: bool) -> Callable[[], None]:
    """Forward, backward, clipping, optimiser."""
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4)

    def step() -> None:
        _loss(student, batch, needs_text).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def measure_teacher(config: TeacherConfig, seconds: float) -> TeacherRates:
    """A call with as much audio as a dump gives it."""
    config = config.on("cpu")
    with _one_thread():
        _reset_peak()
        teacher = load_teacher(config)
        rng = np.random.default_rng(0)
        count = max(1, int((config.batch_seconds or seconds) / seconds))
        noise = [
            (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
            for _ in range(min(count, 4))
        ]
        states: list[np.ndarray] = []
        spent = idle_seconds(lambda: states.extend(teacher.states(noise)), 3)
        frames = len(states[0]) / seconds
        stored = frames * _bytes_a_frame(config, teacher.width)
        return TeacherRates(spent / (len(noise) * seconds), stored, _peak())


def _bytes_a_frame(config: TeacherConfig, width: int) -> float:
    name = config.codec.get("name")
    if name == "mvq":
        return float(config.codec.get("codebooks", 16))
    return width * (2.0 if name == "fp16" else 4.0)


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
    encoding = idle_seconds(lambda: encode(student, speech), 2)
    searching = max(0.0, idle_seconds(lambda: search(speech), 2) - encoding)
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
            start_small=_start("import distill_asr.dump.run"),
            start_teacher=_start(
                "import distill_asr.dump.run; from transformers import HubertModel"
            ),
            read=4 * idle_seconds(read, 5) / 60,  # 16 kHz; and checks, hashes, tables
            resample=2 * idle_seconds(lambda: resample(noise, 8000, SAMPLE_RATE), 3) / 60,
            epoch=EPOCH,
            flops=_flops(),
        )


def _flops() -> float:
    """Multiplications and additions of large matrices, a second of processor time."""
    size = 768
    matrix = torch.randn(size, size)
    return 2 * size**3 / max(idle_seconds(lambda: matrix @ matrix, 5), 1e-9)


def _start(imports: str) -> float:
    """Processor time of an interpreter that imports modules."""
    reference = Reference()
    reference.run()
    before = os.times()
    subprocess.run([sys.executable, "-c", imports], check=False, capture_output=True)
    after = os.times()
    reference.run()
    user, system = (getattr(after, one) - getattr(before, one)
                    for one in ("children_user", "children_system"))  # fmt: skip
    return (user + system) / reference.slowdown


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
