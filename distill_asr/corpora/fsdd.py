"""Digit strings from the Free Spoken Digit Dataset: human speech, a few speakers, one left out.

The dataset holds single digits, ``recordings/{digit}_{speaker}_{index}.wav``, 8 kHz. Recordings of
one speaker are joined with pauses. Indices 0 to 4 are the official test part.
"""

import functools
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.corpora import mini
from distill_asr.corpora import synthesis as synth
from distill_asr.corpora.contract import Built, Corpus, option
from distill_asr.corpora.distributed import files
from distill_asr.corpora.generated import SAMPLING_RATE, Planned, build_set, speaker_name
from distill_asr.data.noise import add_noise, pink_noise, scale_peak, white_noise
from distill_asr.errors import UserError
from distill_asr.io.audio import MIX, BadAudioError, read_audio, resample

_VERSION = 1
FSDD_RATE = 8000  # Hz
OFFICIAL_TEST = range(5)  # recording indices
DEV_SHARE = 0.1  # of the training part's recordings
GIT = "git clone https://github.com/Jakobovski/free-spoken-digit-dataset"

# How many strings each set has; teacher_synthetic goes into teacher_train.
SIZES = {
    "train": 60,
    "unlab": 800,
    "dev": 40,
    "test": 150,
    "test_left_out": 200,
    "teacher_train": 1500,
    "teacher_synthetic": 300,
    "teacher_dev": 100,
}

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
_POOLS = {  # set -> parts of `split` its strings are made of
    "train": ("labelled",),
    "unlab": ("unlabelled",),
    "dev": ("dev",),
    "test": ("test",),
    "test_left_out": ("left_out",),
    "teacher_train": ("labelled", "unlabelled"),
    "teacher_dev": ("dev",),
}


@dataclass(frozen=True)
class DigitRecording:
    """One spoken digit."""

    digit: int
    speaker: str
    index: int
    path: Path


@dataclass(frozen=True)
class FsddOptions:
    """Options of ``Fsdd``."""

    fsdd: str | None = option(
        None, "directory of the dataset, with or without recordings/ at the end", env="FSDD"
    )
    seed: int = option(0, "seed of the labelled recordings and of the strings")
    left_out: str | None = option(None, "speaker of test_left_out; default: the last by name")
    label_share: float = option(0.02, "share of each speaker's training recordings with text")
    utterances: int | None = option(None, "largest number of utterances in a set")
    nj: int = option(2, "number of processes; the result does not depend on it")


class Fsdd(Corpus[FsddOptions]):
    """Digit strings of human speakers."""

    summary = "Free Spoken Digit Dataset: human digits, joined into strings of one speaker."
    needs = f"FSDD=DIR or --fsdd DIR, from `{GIT}`"
    options = FsddOptions

    def build(self, out: Path, options: FsddOptions) -> Built:
        """Write ``out/{train,unlab,dev,test,test_left_out,teacher_train,teacher_dev}``."""
        most = options.utterances
        return build(
            out,
            options.fsdd,
            options.seed,
            options.left_out,
            options.label_share,
            {name: min(size, most) for name, size in SIZES.items()} if most else None,
            nj=options.nj,
        )


def build(
    out: Path,
    fsdd: str | Path | None,
    seed: int = 0,
    left_out: str | None = None,
    label_share: float = 0.02,
    sizes: dict[str, int] | None = None,
    nj: int = 1,
) -> Built:
    """Build every set that is not there yet.

    Parameters
    ----------
    out : data directory.
    fsdd : the dataset's directory, with or without ``recordings/`` at the end.
    seed : decides the parts, the strings, pauses and noise.
    left_out : the speaker that no system trains on; default: the last one in alphabetical order.
    label_share : share of each speaker's training recordings that come with text.
    sizes : strings a set, to change ``SIZES``.
    nj : worker processes.

    Raises
    ------
    UserError : no dataset there, bad recordings, too few speakers, an unknown left-out speaker.
    """
    recordings = read_recordings(find_recordings(fsdd))
    left_out = left_out or max(one.speaker for one in recordings)
    parts = split(recordings, left_out, label_share, seed)
    sizes = SIZES | (sizes or {})
    common = {
        "corpus": "fsdd",
        "version": _VERSION,
        "seed": seed,
        "left_out": left_out,
        "label_share": label_share,
        "recordings": _fingerprint(recordings),
    }
    built = {}
    for name, pools in _POOLS.items():
        pool = [one for part in pools for one in parts[part]]
        planned = plan_strings(name, pool, sizes[name], seed)
        settings = common | {"strings": sizes[name]}
        if name == "teacher_train":
            planned += plan_synthetic(name, sizes["teacher_synthetic"], seed)
            settings["synthetic"] = sizes["teacher_synthetic"]
        built[name] = build_set(
            out, name, planned, render, settings, labelled=name != "unlab", nj=nj
        )
    return Built(built)


def find_recordings(fsdd: str | Path | None) -> Path:
    """The folder with the wav files.

    Parameters
    ----------
    fsdd : the dataset's directory, with or without ``recordings/`` at the end.

    Raises
    ------
    UserError : none given, or no wav files there; says how to get them.
    """
    way_out = f"get it with `{GIT}` and give its directory as FSDD=DIR or --fsdd DIR"
    if not fsdd:
        raise UserError(f"the Free Spoken Digit Dataset is needed: {way_out}")
    for folder in (Path(fsdd) / "recordings", Path(fsdd)):
        if folder.is_dir() and files(folder, "*.wav"):
            return folder
    there = Path(fsdd).is_dir()
    state = "has no wav files, and no recordings/ with any" if there else "is not a directory"
    raise UserError(f"{fsdd} {state}; expected the Free Spoken Digit Dataset: {way_out}")


def read_recordings(folder: Path) -> list[DigitRecording]:
    """Every recording, sorted.

    Raises
    ------
    UserError : all bad ones.
    """
    recordings, problems = [], []
    for path in files(folder, "*.wav"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: expected a name like 7_jackson_32.wav; rename or remove it")
            continue
        problem = _audio_problem(path)
        if problem:
            problems.append(f"{path}: {problem}; get it again with `{GIT}`")
            continue
        recordings.append(
            DigitRecording(int(match["digit"]), match["speaker"], int(match["index"]), path)
        )
    if problems:
        raise UserError(problems)
    return recordings


def split(
    recordings: Sequence[DigitRecording], left_out: str, label_share: float, seed: int
) -> dict[str, list[DigitRecording]]:
    """Deal the recordings out: ``labelled unlabelled dev test left_out``, no one in two of them.

    Dealing goes by speaker and digit, and gives each part at least one recording of each where
    there are three or more.

    Parameters
    ----------
    recordings : all of the dataset.
    left_out : the speaker that no system trains on.
    label_share : share of a speaker's recordings of a digit, 0 to 1, that become ``labelled``.
    seed : decides who gets what.

    Raises
    ------
    UserError : one speaker alone, an unknown one, a share that is not between 0 and 1, or a part
        without recordings of a speaker.
    """
    _check_split(recordings, left_out, label_share)
    parts: dict[str, list[DigitRecording]] = {
        "labelled": [],
        "unlabelled": [],
        "dev": [],
        "test": [one for one in recordings if one.index in OFFICIAL_TEST],
        "left_out": [one for one in recordings if one.speaker == left_out],
    }
    parts["test"] = [one for one in parts["test"] if one.speaker != left_out]
    groups: dict[tuple[str, int], list[DigitRecording]] = {}
    for one in recordings:
        if one.speaker != left_out and one.index not in OFFICIAL_TEST:
            groups.setdefault((one.speaker, one.digit), []).append(one)
    rng = np.random.default_rng([seed, zlib.crc32(b"split")])
    for key in sorted(groups):
        group = [groups[key][i] for i in rng.permutation(len(groups[key]))]
        dev = max(1, round(DEV_SHARE * len(group)))
        labelled = max(1, round(label_share * len(group)))
        parts["dev"] += group[:dev]
        parts["labelled"] += group[dev : dev + labelled]
        parts["unlabelled"] += group[dev + labelled :]
    _check_parts(parts, sorted({one.speaker for one in recordings} - {left_out}))
    return parts


def plan_strings(name: str, pool: Sequence[DigitRecording], count: int, seed: int) -> list[Planned]:
    """``count`` strings of 3 to 7 digits, the pool's speakers in turn.

    Each speaker's recordings are used equally often, give or take one.

    Parameters
    ----------
    name : of the set, in ids and for the draw.
    pool : single digits to choose from.
    count : how many strings.
    seed : of the corpus.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 0])
    by_speaker: dict[str, list[DigitRecording]] = {}
    for one in pool:
        by_speaker.setdefault(one.speaker, []).append(one)
    speakers = sorted(by_speaker)
    decks: dict[str, list[DigitRecording]] = {speaker: [] for speaker in speakers}
    planned = []
    for number in range(count):
        speaker = speakers[number % len(speakers)]
        deck, length = decks[speaker], int(rng.integers(3, 8))
        while len(deck) < length:
            deck += [by_speaker[speaker][i] for i in rng.permutation(len(by_speaker[speaker]))]
        chosen, decks[speaker] = deck[:length], deck[length:]
        text = " ".join(mini.DIGITS[one.digit] for one in chosen)
        noisy = name == "teacher_train"
        plan = (tuple(str(one.path) for one in chosen), noisy, _seed(seed, name, number))
        planned.append(_planned(speaker, name, number, text, plan))
    return planned


def plan_synthetic(name: str, count: int, seed: int) -> list[Planned]:
    """``count`` digit strings for espeak-ng, with the voices of the mini corpus' teachers.

    Parameters
    ----------
    name : of the set, in ids and for the draw.
    count : how many strings.
    seed : of the corpus.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
    planned = []
    for number in range(count):
        voice = mini.TEACHER_VOICES[number % len(mini.TEACHER_VOICES)]
        digits = rng.integers(10, size=int(rng.integers(3, 8)))
        text = " ".join(mini.DIGITS[digit] for digit in digits)
        plan = (voice, True, _seed(seed, f"{name}-synthetic", number))
        planned.append(_planned(f"espeak_{voice}", name, number, text, plan))
    return planned


def render(one: Planned) -> np.ndarray:
    """Join or speak one planned string: float32 ``[N]`` at 16 kHz."""
    source, noisy, seed = one.plan
    rng = np.random.default_rng(seed)
    if isinstance(source, str):
        digits = [_spoken_digit(word, source, rng) for word in one.text.split()]
    else:
        digits = [_load(path) for path in source]
    samples = resample(join(digits, rng), FSDD_RATE, SAMPLING_RATE)
    if noisy and rng.random() < 0.5:
        kind = (white_noise, pink_noise)[int(rng.integers(2))]
        samples = add_noise(samples, kind(len(samples), rng), float(rng.uniform(5, 30)))
    return scale_peak(samples, float(rng.uniform(0.3, 0.9)))


def join(digits: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Put recordings one after the other with pauses of 50 to 300 ms.

    Short fades and one noise floor (45 dB under the speech) below everything leave no clicks.

    Parameters
    ----------
    digits : float ``[N_i]`` of 8 kHz each.
    rng : draws pauses and noise.
    """
    pieces = [_silence(rng)]
    for samples in digits:
        pieces += [_faded(samples), _silence(rng)]
    joined = np.concatenate(pieces)
    return add_noise(joined, white_noise(len(joined), rng), 45.0)


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(FSDD_RATE * rng.uniform(0.05, 0.3)), dtype=np.float32)


def _faded(samples: np.ndarray, seconds: float = 0.005) -> np.ndarray:
    length = min(int(FSDD_RATE * seconds), len(samples) // 2)
    faded = samples.copy()
    if length:
        ramp = np.linspace(0.0, 1.0, length, dtype=np.float32)
        faded[:length] *= ramp
        faded[-length:] *= ramp[::-1]
    return faded


def _spoken_digit(word: str, voice: str, rng: np.random.Generator) -> np.ndarray:
    rate, pitch = int(rng.integers(110, 200)), int(rng.integers(15, 85))
    samples, original = synth.synthesise(word, voice, rate=rate, pitch=pitch)
    loud = np.flatnonzero(np.abs(samples) > 0.005)  # the human recordings are cut as tightly
    return resample(samples[loud[0] : loud[-1] + 1], original, FSDD_RATE)


@functools.cache
def _load(path: str) -> np.ndarray:
    return read_audio(path)[0]


def _audio_problem(path: Path) -> str | None:
    try:
        _, facts = read_audio(path, MIX)
    except BadAudioError as bad:
        return f"{bad.kind}: {bad.detail}"
    if (facts.rate, facts.channels) != (FSDD_RATE, 1):
        found = f"{facts.rate} Hz, {facts.channels} channel(s)"
        return f"found {found}, expected {FSDD_RATE} Hz, 1 channel"
    return None


def _check_split(recordings: Sequence[DigitRecording], left_out: str, label_share: float) -> None:
    speakers = sorted({one.speaker for one in recordings})
    problems = []
    if len(speakers) < 2:
        problems.append(
            f"the recordings have 1 speaker ({speakers[0]}), at least 2 are needed: one is left "
            f"out of training; get all with `{GIT}`"
        )
    if left_out not in speakers:
        problems.append(
            f"--left-out {left_out}: no such speaker; expected one of {', '.join(speakers)}"
        )
    if not 0.0 < label_share < 1.0:
        problems.append(f"--label-share {label_share}: expected a share between 0 and 1")
    if problems:
        raise UserError(problems)


def _check_parts(parts: dict[str, list[DigitRecording]], training: Sequence[str]) -> None:
    problems = []
    for part, members in parts.items():
        present = {one.speaker for one in members}
        for speaker in training if part != "left_out" else ():
            if speaker not in present:
                problems.append(
                    f"speaker {speaker} has too few recordings for the part '{part}': each needs "
                    "index 0 to 4 (test) and at least 3 more of some digit; add recordings, "
                    "remove this speaker's, or change --label-share"
                )
    if problems:
        raise UserError(problems)


def _fingerprint(recordings: Sequence[DigitRecording]) -> dict[str, Any]:
    sizes = " ".join(f"{one.path.name}:{one.path.stat().st_size}" for one in recordings)
    return {"count": len(recordings), "crc32": zlib.crc32(sizes.encode())}


def _seed(seed: int, name: str, number: int) -> tuple[int, ...]:
    return (seed, zlib.crc32(name.encode()), 2, number)


def _planned(speaker: str, name: str, number: int, text: str, plan: Any) -> Planned:
    speaker = speaker_name(speaker)
    return Planned(f"{speaker}-{name}-{number:05d}", speaker, text, plan)
