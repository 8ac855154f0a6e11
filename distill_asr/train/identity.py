"""What makes two trainings the same experiment, and whether one is done or was begun."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from distill_asr.data.datadir import DataDir
from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.experiments.record import is_whole, read_done
from distill_asr.io.checkpoint import damaged_checkpoints
from distill_asr.io.checksum import file_sha256
from distill_asr.io.identity import CACHE
from distill_asr.io.occupied import EXPERIMENT, occupied
from distill_asr.io.yaml import load_config
from distill_asr.train.config import TrainConfig, TrainOptions

# may change when a run is continued; anything else makes another experiment
# which of the processes of a training this is, and how they meet
PLACE = {
    "dist_backend", "dist_init_method", "dist_rank", "local_rank", "dist_master_addr",
    "dist_master_port", "dist_launcher",
}  # fmt: skip
MAY_CHANGE = {"max_epoch", "num_workers", "ngpu", "log_interval", "log_level", "use_tensorboard"}


@dataclass(frozen=True)
class Identity:
    """The config; data, targets, teachers in the step and initial weights by content."""

    config: dict[str, Any]
    train: list[str]
    valid: list[str]
    espnet: list[str]
    data: str  # SHA-256
    audio: str  # the same of what the audio files hold
    files: str  # the same of other files that the config names

    @classmethod
    def of(cls, config: TrainConfig, options: TrainOptions) -> Identity:
        """The training that the command line describes.

        Parameters
        ----------
        config : of the student.
        options : data, and what goes to ESPnet; data and initial weights are read.
        """
        content = config.content
        return cls(
            content,
            list(options.train),
            list(options.valid),
            without(options.espnet, PLACE),
            _content_sha256(config, options),
            _audio_sha256([*options.train, *options.valid]),
            _files_sha256(config),
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of it."""
        return _fingerprint(asdict(self))

    @property
    def old_fingerprint(self) -> str:
        """The same, as versions that did not look at ``files`` computed it."""
        return _fingerprint({k: v for k, v in asdict(self).items() if k != "files"})

    def to_yaml(self) -> str:
        """For train.yaml."""
        return yaml.safe_dump(asdict(self), sort_keys=False)

    def differences(self, before: dict[str, Any]) -> list[str]:
        """The parts of another experiment's record that differ from this one and must not."""
        config = before["config"]
        keys = {*config, *self.config} - (MAY_CHANGE - _lengths_that_count(self.config))
        differ = sorted(key for key in keys if config.get(key) != self.config.get(key))
        named = {
            "train": "--train",
            "valid": "--valid",
            "data": "the content of its data, targets or initial weights",
            "audio": "the content of its audio files",
            "files": "the content of its token list, or of another file that the config names",
        }
        now = asdict(self)
        differ += [what for part, what in named.items() if before.get(part, now[part]) != now[part]]
        changing = MAY_CHANGE | PLACE  # older versions recorded places, too
        if without(before.get("espnet", []), changing) != without(self.espnet, changing):
            differ.append("the options after --")
        return differ


def _lengths_that_count(config: dict[str, Any]) -> set[str]:
    """``max_epoch`` where a block's weight goes by the share of the training that is done."""
    section = config.get("distill")
    blocks = section.values() if isinstance(section, dict) else ()
    scheduled = any(isinstance(b, dict) and isinstance(b.get("weight"), dict) for b in blocks)
    return {"max_epoch"} if scheduled else set()


def _fingerprint(parts: dict[str, Any]) -> str:
    return hashlib.sha256(yaml.safe_dump(parts).encode()).hexdigest()


def _files_sha256(config: TrainConfig) -> str:
    named = [config.espnet.get(key) for key in ("token_list", "bpemodel", "non_linguistic_symbols")]
    named.append(config.conf("normalize").get("stats_file"))
    digest = hashlib.sha256()
    for file in named:
        if isinstance(file, str) and Path(file).is_file():
            digest.update(file_sha256(file).encode())
        else:  # it is reported elsewhere, or it is a text model
            digest.update(b"absent")
    return digest.hexdigest()


def _content_sha256(config: TrainConfig, options: TrainOptions) -> str:
    directories = [Path(directory) for directory in [*options.train, *options.valid]]
    names = ["utt2num_samples", *(["text"] if config.needs_text else [])]
    names += [f"targets/{teacher}/manifest.json" for teacher in config.teachers]
    digest = hashlib.sha256()
    files = [directory / name for directory in directories for name in names]
    files += [Path(init.partition(":")[0]) for init in config.initial_weights]
    model = config.pretrained_encoder
    files += sorted(Path(model).expanduser().glob("*.*")) if model is not None else []
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"absent")
    for teacher in config.online_teachers:
        digest.update(yaml.safe_dump(_content(teacher)).encode())
    return digest.hexdigest()


def _audio_sha256(directories: list[str]) -> str:
    digest = hashlib.sha256()
    for directory in directories:
        try:
            audio = prepared_audio_identity(DataDir.read(directory).wav, Path(directory) / CACHE)
        except UserError:
            audio = {}  # reported by the check of the data
        digest.update(json.dumps(audio, sort_keys=True).encode())
    return digest.hexdigest()


def _content(path: str) -> object:
    """A YAML with its bases, or nothing where it cannot be read, which is reported elsewhere."""
    try:
        return load_config(path)
    except UserError:
        return None


def is_done(experiment: Experiment, identity: Identity) -> bool:
    """Whether this training is finished and its files are unchanged.

    A damaged record counts as absent, so it was not.
    """
    done = read_done(experiment)
    known = identity.fingerprint if "files" in done else identity.old_fingerprint
    return done.get("fingerprint") == known and is_whole(experiment)


def same_experiment(experiment: Experiment, identity: Identity) -> bool:
    """Whether a directory holds only files of this training.

    Raises
    ------
    UserError : it holds weights that cannot be this training's, or damaged ones.
    """
    output, record = experiment.directory, experiment.record
    has_weights = experiment.resumed.exists()
    way_out = "use another --output, or remove that directory"
    try:
        before = yaml.safe_load(record.read_text(encoding="utf-8"))
        differ = identity.differences(before)
    except (OSError, ValueError, yaml.YAMLError, TypeError, AttributeError, KeyError) as error:
        if has_weights:
            what = "missing" if isinstance(error, FileNotFoundError) else "damaged or cut short"
            raise UserError(
                f"{record}: {what}, so it is unknown what {output} was trained on; {way_out}"
            ) from error
        return False
    if has_weights and differ:
        raise UserError(
            f"{output}: holds a training that differs in {', '.join(differ)}; {way_out}"
        )
    if has_weights and (problems := damaged_checkpoints(output)):
        raise UserError(problems)
    return not differ


def place_problems(experiment: Experiment) -> list[str]:
    """Report that a directory holds files of another command, or of the user."""
    problems = occupied(experiment.directory, EXPERIMENT, "--output")
    ours = experiment.record.exists() or experiment.espnet_config.exists()
    if not problems and not ours:  # a new training would remove these
        problems = [
            f"--output {experiment.directory}: holds {place.name}/, which no training wrote; give "
            "another directory"
            for place in (experiment.inputs, experiment.statistics.parents[1])
            if place.exists()
        ]
    return problems


def begin_anew(experiment: Experiment) -> None:
    """Remove measurements of an attempt that made no weights, since they may be of other data."""
    measured = experiment.statistics.parents[1]
    for directory in (measured, unfinished(measured), experiment.inputs):
        if directory.is_dir():
            shutil.rmtree(directory)


def unfinished(directory: Path) -> Path:
    """Name of a directory while it is being made; a kill leaves this one."""
    return directory.with_name(f"{directory.name}.unfinished")


def without(options: Sequence[str], names: set[str]) -> list[str]:
    """ESPnet's options but for some of them, and their values.

    Parameters
    ----------
    options : words of the command line.
    names : of the options to drop, without ``--``.
    """
    kept, dropping = [], False
    for option in options:
        if option.startswith("--"):
            name, _, _ = option[2:].partition("=")
            dropping = name in names
        if not dropping:
            kept.append(option)
    return kept
