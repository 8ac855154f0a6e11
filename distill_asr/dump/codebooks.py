"""Training of the codebooks of codec ``mvq``, on a sample of a dump's states.

Legend: N frames, E width, C codebooks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.locks import locked
from distill_asr.io.progress import Bar
from distill_asr.targets.codebooks import (
    CODEBOOKS,
    Codebooks,
    write_bytes,
)
from distill_asr.targets.codecs import SHA256, codec_class, complete_codec
from distill_asr.targets.manifest import STD_FLOOR, Settings
from distill_asr.targets.quantizer import (
    LOGITS,
    Quantizer,
    describe_codebooks,
    quantizer_path,
    search_library,
)
from distill_asr.targets.statistics import Statistics
from distill_asr.teachers.batching import grouped

if TYPE_CHECKING:
    from distill_asr.dump.source import DataSource
    from distill_asr.targets.codebook_search import SweepQuantizer
    from distill_asr.teachers import Teacher, TeacherConfig

_BATCH = 256  # frames a training step
GROUP = 32  # utterances of the sample read together
HELD_OUT = 20  # every so manyeth utterance of the sample does not train, but measures
_MEASURED = 5000  # frames of those at most


def trained_codec(settings: Settings, targets: Sequence[Path], overwrite: bool = False) -> Settings:
    """Complete the settings of an mvq teacher with the codebooks of its earlier dumps, if any.

    Parameters
    ----------
    settings : of the teacher, from its file.
    targets : dump/<set>/targets/<name> of every set.
    overwrite : throw codebooks away that are not of this teacher.

    Raises
    ------
    UserError : codebooks of another teacher, or damaged ones.
    """
    if not codec_class(settings.codec).has_codebooks:
        return settings
    settings = _without_checksum(settings)
    found: set[str] = set()
    problems: list[str] = []
    places = _places(targets)
    for path in filter(Path.exists, places):
        try:
            codebooks = Codebooks.load(path)
        except UserError as error:
            problems += error.problems
            continue
        found.add(codebooks.sha256)
        made_for = codebooks.facts["settings"]
        made_for = Settings(**{**made_for, "layers": tuple(made_for["layers"])})
        if differences := made_for.differences(settings):
            problems.append(
                f"{path}: these codebooks belong to another teacher: this one has "
                f"{', '.join(differences)}; "
                "choose another --name, or replace them with --overwrite"
            )
    if len(found) > 1:
        problems.append(
            f"{', '.join(map(str, places))}: these are different codebooks of one teacher; keep "
            "one file"
        )
    if problems and not overwrite:
        raise UserError(problems)
    if problems:
        for path in places:
            path.unlink(missing_ok=True)
    elif found:
        return replace(settings, codec={**settings.codec, SHA256: found.pop()})
    return settings


def prepare_codec(
    settings: Settings,
    targets: Sequence[Path],
    teacher: Teacher,
    sources: Sequence[DataSource],
    config: TeacherConfig,
    device: str = "cpu",
) -> Settings:
    """Before the first shard: train the codebooks if need be, and put them beside the targets.

    Nothing to do for codecs without codebooks. A kill in between costs the training, nothing else.

    Parameters
    ----------
    settings : of the teacher, from its file.
    targets : dump/<set>/targets/<name> of every set.
    teacher, sources, config : the states of a random sample are computed with these.
    device : to train on.

    Returns
    -------
    The settings with the checksum of the codebooks in ``codec``.
    """
    if not codec_class(settings.codec).has_codebooks:
        return settings
    places = _places(targets)
    with locked(places[0].with_suffix(""), "training codebooks"):
        known = trained_codec(settings, targets)  # a dump beside this one may have trained them
        if SHA256 in known.codec:
            quantizer = Quantizer.load(next(filter(Path.exists, places)))
        else:
            sample = draw_sample(teacher, sources, config)
            quantizer = train_quantizer(sample, settings, device)
            print(f"{places[0]}: {describe_codebooks(quantizer.codebooks)}")
        for path in places:
            if not path.exists():
                quantizer.save(path)
        content = quantizer.codebooks.to_bytes()
        for directory in targets:
            beside = directory / CODEBOOKS
            if not beside.exists() or beside.read_bytes() != content:
                write_bytes(beside, content)
    return replace(settings, codec={**settings.codec, SHA256: quantizer.codebooks.sha256})


@dataclass(frozen=True)
class Sample:
    """States of random utterances."""

    training: np.ndarray  # float32 [N, E]
    held_out: np.ndarray  # float32 [N, E], of other utterances
    utterances: int  # behind ``training``


def draw_sample(teacher: Teacher, sources: Sequence[DataSource], config: TeacherConfig) -> Sample:
    """Run utterances in random order through the teacher until there are ``sample_frames``.

    Parameters
    ----------
    teacher : gives the states.
    sources : data dirs to draw from, all together.
    config : its codec has ``sample_frames`` and ``seed``.

    Raises
    ------
    UserError : only one utterance, so that nothing is left to measure with.
    """
    drawn: list[np.ndarray] = []
    frames = 0
    options = complete_codec(config.codec)
    wanted = options["sample_frames"]
    with Bar(desc="codebooks: sample", total=wanted, unit="frame", mininterval=1) as bar:
        for states in _states_at_random(teacher, sources, config, options["seed"]):
            drawn += states
            count = sum(map(len, states))
            frames += count
            bar.update(count)
            if frames >= wanted and len(drawn) > 1:
                break
    if len(drawn) < 2:
        raise UserError(
            f"{sources[0].path}: 1 utterance is not enough to train codebooks; dump with "
            "`codec: {name: fp16}`, or give more data"
        )
    measuring = drawn[::HELD_OUT]
    training = [states for number, states in enumerate(drawn) if number % HELD_OUT]
    return Sample(np.concatenate(training), np.concatenate(measuring)[:_MEASURED], len(training))


def train_quantizer(sample: Sample, settings: Settings, device: str = "cpu") -> Quantizer:
    """Train codebooks; the same sample and options give the same bytes on the same machine.

    Parameters
    ----------
    sample : states to train with and to measure with.
    settings : of the targets; those of the codec decide the training.
    device : of torch.
    """
    statistics = Statistics.of(sample.training)
    mean = statistics.mean.astype(np.float32)
    std = np.maximum(statistics.std, STD_FLOOR).astype(np.float32)
    model = _trained((sample.training - mean) / std, settings.codec, device)
    arrays = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    facts = {
        "settings": _without_checksum(settings).to_mapping(),
        "frames": len(sample.training),
        "utterances": sample.utterances,
    }
    centers = model.get_centers().detach().cpu().numpy()
    logits = {name: arrays[name] for name in LOGITS}
    codebooks = Codebooks.of(centers, mean, std, facts)
    lost = _variance_lost(Quantizer(codebooks, logits).to(device), sample.held_out)
    return Quantizer(replace(codebooks, facts={**facts, "variance_lost": lost}), logits)


def _trained(frames: np.ndarray, options: dict[str, Any], device: str) -> SweepQuantizer:
    """Run the library's trainer over standardised frames float32 [N, E]."""
    import torch

    search = search_library()
    data, rng = torch.from_numpy(frames), np.random.default_rng(options["seed"])
    first = options["steps"] // 2  # with entries that are sums of two of 16
    with _reproducible(options["seed"]):
        trainer = search.SweepTrainer(
            dim=frames.shape[1],
            bytes_per_frame=options["codebooks"],
            device=torch.device(device),
            phase_one_iters=first,
            phase_two_iters=options["steps"] - first,
        )
        with Bar(
            desc="codebooks: training", total=options["steps"] + 1, unit="step", mininterval=1
        ) as bar:
            while not trainer.done():
                chosen = torch.from_numpy(rng.integers(len(data), size=_BATCH))
                trainer.step(data[chosen].to(device))
                bar.update()
    return trainer.get_quantizer()


def _states_at_random(
    teacher: Teacher, sources: Sequence[DataSource], config: TeacherConfig, seed: int
) -> Iterator[list[np.ndarray]]:
    """States of all utterances, in random order, some at a time."""
    everything = [(source, utterance) for source in sources for utterance in source.ids]
    order = np.random.default_rng(seed).permutation(len(everything))
    budget = sources[0].budget(config)
    for first in range(0, len(order), GROUP):
        drawn = {f"{i:09d}": everything[i] for i in order[first : first + GROUP]}
        sizes = {key: source.sizes([u], teacher)[u] for key, (source, u) in drawn.items()}
        for batch in grouped(sizes, budget):
            yield teacher.states([source.read(u) for source, u in map(drawn.get, batch)])


def _variance_lost(quantizer: Quantizer, states: np.ndarray) -> float:
    """Squared error of the codes over squared deviation, in standardised dimensions."""
    books = quantizer.codebooks
    error = (books.decode(quantizer.encode(states)) - states) / books.std
    deviation = (states - books.mean) / books.std
    return float(np.square(error).sum(dtype=np.float64) / np.square(deviation).sum())


def _without_checksum(settings: Settings) -> Settings:
    """The settings that come from the teacher's file alone."""
    return replace(settings, codec={k: v for k, v in settings.codec.items() if k != SHA256})


def _places(targets: Sequence[Path]) -> list[Path]:
    """Where the quantizer lies, once for each directory that holds data dirs."""
    return sorted({quantizer_path(directory) for directory in targets})


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Fix what the library's training draws from and sums with; put it back afterwards."""
    import torch

    threads, state = torch.get_num_threads(), random.getstate()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            random.seed(seed)
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(state)
