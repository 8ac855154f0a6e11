"""States of frozen lower layers, computed once and read from disk in every step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from distill_asr.data.datadir import DataDir
from distill_asr.dump.run import dump_sets
from distill_asr.dump.workers import ThisProcess
from distill_asr.errors import UserError
from distill_asr.espnet.trained_encoder import NAME
from distill_asr.experiments.layout import AVERAGED, Experiment
from distill_asr.io.locks import HeldError
from distill_asr.targets.loader import TargetList
from distill_asr.teachers import TeacherConfig
from distill_asr.teachers.online import read_online, reads_audio
from distill_asr.train.config import TrainConfig
from distill_asr.train.requirements import targets_of

SHARD_UTTS = 200
WAIT = 1.0  # seconds between two looks at what another training is computing


def caches_states(config: TrainConfig) -> bool:
    """Whether training reads states of its front-end, a trained encoder, from disk."""
    return config.espnet.get("frontend") == NAME and bool(config.conf("frontend").get("cache"))


def cache_problems(config: TrainConfig, source: Experiment | None) -> list[str]:
    """What does not go with states from disk.

    Parameters
    ----------
    source : whose encoder the front-end is.
    """
    if not caches_states(config):
        return []
    where, way_out = "frontend_conf.cache", "write cache: false"
    problems = []
    if source is None:
        problems.append(f"{where}: needs the experiment whose encoder this is; add --init EXP")
    if of_audio := [path for path in config.online_teachers if _needs_audio(path)]:
        problems.append(
            f"{where}: teachers in the training step need audio ({of_audio[0]}); "
            f"dump them, or {way_out}"
        )
    for key in ("noise_scp", "rir_scp", "speech_volume_normalize"):
        if config.espnet.get(key):
            problems.append(
                f"{where}: {key} changes audio that is not read; remove it, or {way_out}"
            )
    if config.conf("preprocessor").get("data_aug_effects"):
        problems.append(
            f"{where}: preprocessor_conf.data_aug_effects change audio that is not read; remove "
            f"them, or {way_out}"
        )
    return problems


def _needs_audio(path: str) -> bool:
    """Whether an online teacher needs audio; mistakes of its file are reported elsewhere."""
    try:
        return reads_audio(read_online(path))
    except UserError:
        return True


def write_states(sets: Sequence[DataDir], source: Experiment) -> str:
    """Run the encoder of an experiment on all utterances, as a teacher that is dumped.

    What is there already stays, unless the encoder or the audio has changed since; other trainings
    that want the same wait for whoever comes first.

    Returns
    -------
    The name under which the states lie, ``dump/<set>/targets/<name>``.

    Raises
    ------
    UserError : the experiment is not finished or damaged, or audio that cannot be read.
    """
    once = list({Path(data.path).resolve(): data for data in sets}.values())
    name = f"encoder_{source.directory.name}"
    content = {"kind": "recogniser", "model": str(source.directory), "checkpoint": AVERAGED}
    config = TeacherConfig.from_mapping(
        {**content, "output": "states"}, f"--init {source.directory}"
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    while True:
        try:
            workers = ThisProcess(config.on(device), device, torch.get_num_threads())
            dump_sets(once, name, config.on(device), workers, SHARD_UTTS, overwrite=True)
            return name
        except HeldError:
            time.sleep(WAIT)


def list_states(path: Path, sets: Sequence[DataDir], name: str) -> None:
    """Write what the loader reads in place of audio."""
    directories = tuple(str(targets_of(data, name)) for data in sets)
    TargetList(directories, False, sum(len(data.wav) for data in sets), 0).write(path)
