"""The resolved config of an experiment: ESPnet's ``config.yaml``, as its classes read it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.experiments.record import altered_files
from distill_asr.io.yaml import load_yaml
from distill_asr.models.frontends.rate import sampling_rate_of

# keys of every recogniser's config; ESPnet writes them near its end, so a config that was cut
# lacks some of them
NEEDED = ("token_list", "frontend", "encoder", "encoder_conf", "decoder", "decoder_conf")


@dataclass(frozen=True)
class ModelConfig:
    """A recogniser's config in ESPnet's keys, without anything of a distillation.

    Parameters
    ----------
    file : where it was read.
    values : all of it; what it names as files lies there, see ``read``.
    """

    file: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, directory: str | Path) -> ModelConfig:
        """Read an experiment's config.

        Files that it names relative to where it was trained, as ESPnet's models do, are found
        from any working directory.

        Raises
        ------
        UserError : no such file, no YAML, cut short, or not as its training wrote it; files that
            it names are missing or were changed.
        """
        experiment = Experiment(Path(directory))
        file = experiment.config
        values = read_values(file, NEEDED)
        problems = _find_files(values, file.parent)
        if problems:
            raise UserError([f"{file}: {problem}" for problem in problems])
        config = cls(file, values)
        if changed := altered_files(experiment, config.files):
            raise UserError(changed)
        return config

    @property
    def model(self) -> str | None:
        """Kind of student, such as ``ctc``; None or ``espnet`` for a stock ESPnet recogniser."""
        return self.values.get("model")

    @property
    def token_list(self) -> list[str]:
        """Tokens by number; empty for a student without an output layer."""
        return self.values["token_list"] or []

    @property
    def token_type(self) -> str | None:
        """How words become tokens; None for a student without an output layer."""
        return self.values.get("token_type")

    @property
    def bpemodel(self) -> str | None:
        """Model of the subword pieces, a file or a text model."""
        return self.values.get("bpemodel")

    @property
    def encoder(self) -> str:
        """ESPnet's name of the encoder."""
        return self.values["encoder"]

    @property
    def frontend_conf(self) -> dict[str, Any]:
        """Arguments of the front-end."""
        return self.values.get("frontend_conf") or {}

    @property
    def rate(self) -> int:
        """Sampling rate of the audio, in Hz."""
        return sampling_rate_of(self.frontend_conf)

    @property
    def files(self) -> list[Path]:
        """The config and the files it names: with a checkpoint, all that recognition depends on."""
        conf = self.values.get("normalize_conf") or {}
        named = [conf.get("stats_file"), None if self.token_type == PIECES else self.bpemodel]
        return [self.file, *(Path(file) for file in named if file)]

    def to_espnet(self) -> argparse.Namespace:
        """The form in which ESPnet's classes take it."""
        return argparse.Namespace(**self.values, distill={}, distill_teachers={})


def read_values(file: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """A ``config.yaml`` of ESPnet, without keys of a distillation.

    Parameters
    ----------
    file : the config.
    needed : keys that it must have.

    Raises
    ------
    UserError : no such file, no YAML, or ``needed`` keys are missing, as when it was cut short.
    """
    if not file.exists():
        raise UserError(f"{file}: no such file; is the training in {file.parent} finished?")
    way_out = f"put a good copy back, or train {file.parent} again"
    try:
        values = load_yaml(file)
    except UserError as error:
        raise UserError([f"{problem}; {way_out}" for problem in error.problems]) from error
    if missing := [key for key in needed if key not in values]:
        raise UserError(f"{file}: cut short, lacks {', '.join(missing)}; {way_out}")
    return {key: value for key, value in values.items() if not key.startswith("distill")}


def _find_files(values: dict[str, Any], directory: Path) -> list[str]:
    """Point what the config names at the files; ESPnet's models name them from their own root."""
    problems = []
    normalize = values.get("normalize_conf") or {}
    for place, key in ((normalize, "stats_file"), (values, "bpemodel")):
        if not isinstance(place.get(key), str) or _is_pieces(values, key):
            continue
        named = Path(place[key])
        places = [named, *(parent / named for parent in directory.resolve().parents)]
        places.append(directory / named.name)
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            problems.append(
                f"{key}: {named} exists neither at that path nor in {directory}; put it there"
            )
        else:
            place[key] = str(found)
    return problems


def _is_pieces(values: dict[str, Any], key: str) -> bool:
    """Whether a key names a text model, a directory or a hub's, instead of a file."""
    return key == "bpemodel" and values.get("token_type") == PIECES
