"""Student, tokens and schedule, by hours of audio and by the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.start.batches import batches
from distill_asr.start.languages import LARGE, Languages
from distill_asr.start.machine import Machine

_SIZES = ("1m", "10m", "30m")
CHAR, BPE = "char", "bpe"
LSTM, STATELESS = "lstm", "stateless"
# two recipes that were tuned: egs/mini, and egs/librispeech_100 with its 10 M student
SMALL_HOURS, SMALL_UPDATES, SMALL_BATCH = 0.07, 1700, 20.0
LARGE_HOURS, LARGE_UPDATES, LARGE_BATCH = 100.0, 72000, 600.0
CPU_BATCH = 40.0  # seconds; larger ones take longer and save no updates
STAGE_2 = 0.3  # of the baseline's updates; stage 1 has the rest
WARMUP = 0.12  # of the baseline's updates
WORKERS = 4


@dataclass(frozen=True)
class Wishes:
    """What the user has chosen; None is chosen here."""

    size: str | None = None
    streaming: bool = False
    tokens: str | None = None
    vocabulary: int | None = None
    epochs: int | None = None  # of the baseline
    batch_seconds: float | None = None
    predictor: str = LSTM


@dataclass(frozen=True)
class Amount:
    """Audio to train on: seconds of each utterance, with transcripts and without."""

    train: tuple[float, ...]
    unlabelled: tuple[float, ...] = ()

    @property
    def labelled(self) -> float:
        """Hours with transcripts."""
        return sum(self.train) / 3600

    @property
    def stage_1(self) -> float:
        """Hours that stage 1 reads."""
        return self.labelled + sum(self.unlabelled) / 3600


@dataclass(frozen=True)
class Choices:
    """A student and how it is trained.

    Parameters
    ----------
    base : file of ``conf/student`` that it extends, without its ending.
    tokens : ``char`` or ``bpe``; ``vocabulary``: tokens in all, of ``bpe``.
    batch_seconds : audio in a batch, padding included; ``stage_1_batch_seconds`` of stage 1.
    epochs, stage_1_epochs, stage_2_epochs : of the baseline and of the distilled system.
    warmup : updates.
    ngpu, nj : of ``run.sh``.
    predictor : ``lstm``, that of ``base``, or ``stateless``.
    reasons : why, a line each.
    """

    base: str
    tokens: str
    vocabulary: int | None
    batch_seconds: float
    stage_1_batch_seconds: float
    epochs: int
    stage_1_epochs: int
    stage_2_epochs: int
    warmup: int
    ngpu: int
    nj: int
    predictor: str
    reasons: tuple[str, ...]


def choose(amount: Amount, languages: Languages, machine: Machine, wishes: Wishes) -> Choices:
    """Fill in what the user has not chosen.

    Parameters
    ----------
    amount : audio to train on, with transcripts and without.
    languages : of the transcripts.
    machine : cores, memory and GPUs.
    wishes : what the user has chosen.
    """
    size, why_size = _size(amount, machine, wishes)
    tokens, why_tokens = _tokens(amount, languages, size, wishes)
    batch = wishes.batch_seconds or _batch_seconds(amount.labelled, machine)
    updates = _updates(amount.labelled)
    epochs = wishes.epochs or _epochs(updates, batch, amount.labelled)
    updates = epochs * amount.labelled * 3600 / batch
    more = amount.stage_1 > 1.5 * amount.labelled
    batch_1 = wishes.batch_seconds or (min(2 * batch, LARGE_BATCH) if more else batch)
    stage_2 = max(1, round(STAGE_2 * epochs))
    stage_1 = max(1, epochs - stage_2)
    if more:  # as many updates, on more audio
        stage_1 = _epochs((1 - STAGE_2) * updates, batch_1, amount.stage_1)
    first = _in_an_epoch([*amount.train, *amount.unlabelled], batch_1) * stage_1
    each = _in_an_epoch(amount.train, batch)
    why_schedule = (
        f"schedule: {epochs * each} updates of about {batch:g} s of audio, {epochs} epochs of the "
        f"baseline, for {amount.labelled:.3g} h; the distilled system gets {first} and "
        f"{stage_2 * each} in two stages (--epochs, --batch-seconds)"
    )
    why_predictor = f"predictor {wishes.predictor}: " + (
        "makes fewer errors, but sherpa-onnx cannot run it (--predictor stateless)"
        if wishes.predictor == LSTM
        else "chosen (--predictor)"
    )
    vocabulary = None
    if tokens == BPE:
        vocabulary = wishes.vocabulary or max(
            500 if size == "30m" else 256, 2 * languages.characters
        )
    return Choices(
        base=f"{'stream' if wishes.streaming else 'transducer'}_{size}",
        tokens=tokens,
        vocabulary=vocabulary,
        batch_seconds=batch,
        stage_1_batch_seconds=batch_1,
        epochs=epochs,
        stage_1_epochs=stage_1,
        stage_2_epochs=stage_2,
        warmup=max(20, round(WARMUP * updates)),
        ngpu=min(1, machine.gpus),
        nj=machine.gpus or max(1, min(WORKERS, machine.cores)),
        predictor=wishes.predictor,
        reasons=(why_size, why_predictor, why_tokens, why_schedule),
    )


def _size(amount: Amount, machine: Machine, wishes: Wishes) -> tuple[str, str]:
    if wishes.size:
        return wishes.size, f"student of {wishes.size}: chosen (--student)"
    if not machine.gpus:
        return "1m", "student of 1m: there is no GPU (--student 10m for more)"
    hours = amount.labelled
    size = "30m" if hours >= 500 else "10m" if hours >= 10 else "1m"
    return size, f"student of {size}: {hours:.3g} h with transcripts (--student)"


def _tokens(amount: Amount, languages: Languages, size: str, wishes: Wishes) -> tuple[str, str]:
    if wishes.tokens:
        return wishes.tokens, f"tokens {wishes.tokens}: chosen (--tokens)"
    if languages.script in LARGE:
        return CHAR, f"tokens char: the script is {languages.script.lower()} (--tokens)"
    if size == "1m" or amount.labelled < 10:
        return CHAR, f"tokens char: {amount.labelled:.3g} h with transcripts (--tokens)"
    return BPE, f"tokens bpe: {amount.labelled:.3g} h with transcripts (--tokens)"


def _batch_seconds(hours: float, machine: Machine) -> float:
    between = _interpolated(hours, SMALL_BATCH, LARGE_BATCH)
    most = LARGE_BATCH if machine.gpus else CPU_BATCH
    return float(round(min(max(between, SMALL_BATCH), most)))


def _updates(hours: float) -> float:
    return _interpolated(hours, SMALL_UPDATES, LARGE_UPDATES)


def _interpolated(hours: float, small: float, large: float) -> float:
    """A power law through the two recipes that were tuned."""
    slope = math.log(large / small) / math.log(LARGE_HOURS / SMALL_HOURS)
    return small * (hours / SMALL_HOURS) ** slope


def _epochs(updates: float, batch_seconds: float, hours: float) -> int:
    return max(3, round(updates * batch_seconds / (3600 * hours)))


def _in_an_epoch(lengths: Sequence[float], batch_seconds: float) -> int:
    """Updates of an epoch, as ESPnet forms batches of the students' configs."""
    values = {"batch_type": "numel", "batch_bins": round(batch_seconds * SAMPLE_RATE)}
    return batches(lengths, values).count
