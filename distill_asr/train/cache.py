"""States of frozen lower layers, computed once and read from disk in every step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from distill_asr.data.datadir import DataDir
from distill_asr.distill.block import written_name
from distill_asr.dump.run import dump_sets
from distill_asr.dump.workers import ThisProcess
from distill_asr.errors import UserError
from distill_asr.espnet.trained_encoder import NAME
from distill_asr.experiments.layout import AVERAGED, Experiment
from distill_asr.io.locks import HeldError
from distill_asr.models.encoders.hf_speech import HF_SPEECH
from distill_asr.pretrained.request import WINDOW_OF_AUDIO
from distill_asr.targets.loader import TargetList
from distill_asr.teachers import TeacherConfig
from distill_asr.teachers.online import read_online, reads_audio
from distill_asr.train.config import TrainConfig
from distill_asr.train.requirements import targets_of

SHARD_UTTS = 200
WAIT = 1.0  # seconds between two looks at what another training is computing


def caches_states(config: TrainConfig) -> bool:
    """Whether training reads states from disk: of a trained encoder, or of frozen layers."""
    return _of_frontend(config) or _of_layers(config)


def _of_frontend(config: TrainConfig) -> bool:
    """Its front-end is a trained encoder whose states come from disk."""
    return config.espnet.get("frontend") == NAME and bool(config.conf("frontend").get("cache"))


def _of_layers(config: TrainConfig) -> bool:
    """The frozen layers of its pretrained encoder have their states on disk."""
    return config.espnet.get("encoder") == HF_SPEECH and bool(config.conf("encoder").get("cache"))


def cache_problems(config: TrainConfig, source: Experiment | None) -> list[str]:
    """What does not go with states from disk.

    Parameters
    ----------
    config : of the student; nothing is wrong where it caches no states.
    source : the experiment of ``--init``, whose encoder the front-end is.
    """
    if not caches_states(config):
        return []
    where = "frontend_conf.cache" if _of_frontend(config) else "encoder_conf.cache"
    way_out = "write cache: false"
    problems = _layer_problems(config, source) if _of_layers(config) else []
    if source is None and _of_frontend(config):
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


def _layer_problems(config: TrainConfig, source: Experiment | None) -> list[str]:
    """What keeps states of frozen layers from being those of the student."""
    where, conf, problems = "encoder_conf.cache", config.conf("encoder"), []
    if not isinstance(conf.get("model"), str):
        problems.append(f"{where}: needs encoder_conf.model, whose states are computed")
    if source is not None or config.initial_weights:
        problems.append(
            f"{where}: states are those of encoder_conf.model, but other weights are to come in "
            "(--init, init_param); leave them out, or write cache: false"
        )
    frozen = conf.get("freeze_layers", 0)
    for name, block in config.blocks.items():
        layer = block.tap.removeprefix("encoder:")
        if layer.isdecimal() and isinstance(frozen, int) and int(layer) <= frozen:
            problems.append(
                f"{where}: distill.{written_name(name)}.tap: {block.tap} is frozen and not "
                f"computed; expected a layer above {frozen}, or write cache: false"
            )
    return problems


def _needs_audio(path: str) -> bool:
    """Whether an online teacher needs audio; mistakes of its file are reported elsewhere."""
    try:
        return reads_audio(read_online(path))
    except UserError:
        return True


def write_states(sets: Sequence[DataDir], config: TrainConfig, source: Experiment | None) -> str:
    """Run frozen layers on all utterances, as a teacher that is dumped.

    What is there already stays, unless the encoder or the audio has changed since; other trainings
    that want the same wait for whoever comes first.

    Parameters
    ----------
    sets : training and validation data.
    config : for which ``caches_states`` holds, without ``cache_problems``.
    source : the experiment of ``--init``.

    Returns
    -------
    The name under which the states lie, ``dump/<set>/targets/<name>``.

    Raises
    ------
    UserError : the experiment is not finished or damaged, or audio that cannot be read.
    """
    once = list({Path(data.path).resolve(): data for data in sets}.values())
    name, frozen = _frozen_layers(config, source)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    while True:
        try:
            workers = ThisProcess(frozen.on(device), device, torch.get_num_threads())
            dump_sets(once, name, frozen.on(device), workers, SHARD_UTTS, overwrite=True)
            return name
        except HeldError:
            time.sleep(WAIT)


def _frozen_layers(config: TrainConfig, source: Experiment | None) -> tuple[str, TeacherConfig]:
    """A name, and the layers as a teacher: of ``source``, or of a pretrained encoder."""
    if _of_frontend(config) and source is not None:
        trained = {"kind": "recogniser", "model": str(source.directory), "checkpoint": AVERAGED}
        where = f"--init {source.directory}"
        teacher = TeacherConfig.from_mapping({**trained, "output": "states"}, where)
        return f"encoder_{source.directory.name}", teacher
    conf = config.conf("encoder")
    model, layer = conf["model"], conf["freeze_layers"]
    content = {"kind": "speech", "model": model, "layers": [layer], "window": WINDOW_OF_AUDIO}
    teacher = TeacherConfig.from_mapping({**content, "batch_seconds": 30.0}, "encoder_conf")
    return f"encoder_{Path(model).name}_{layer}", teacher


def list_states(path: Path, sets: Sequence[DataDir], name: str) -> None:
    """Write what the loader reads in place of audio.

    Parameters
    ----------
    path : the file.
    sets : all of them hold the states.
    name : as ``write_states`` gave it.
    """
    directories = tuple(str(targets_of(data, name)) for data in sets)
    TargetList(directories, False, sum(len(data.wav) for data in sets), 0).write(path)
