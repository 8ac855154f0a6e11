"""A training config, read and merged once; every later step gets this and no raw mapping.

The vocabulary of everything but ``distill:`` is ESPnet's, so those keys stay the mapping that
ESPnet gets; what this package decides by is named here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.distill.block import PICKS, DistillBlock, by_tap, written_name
from distill_asr.errors import nearest
from distill_asr.experiments.layout import Experiment
from distill_asr.io.arguments import check_arguments
from distill_asr.io.yaml import config_name, load_config
from distill_asr.teachers.online import is_online

WITHOUT_TEXT = ("encoder_only",)  # students that learn from teachers alone


@dataclass(frozen=True)
class TrainOptions:
    """The command line of ``distill-asr train``."""

    config: tuple[str, ...]  # YAMLs, merged from left to right
    train: tuple[str, ...]  # prepared data dirs
    valid: tuple[str, ...]
    experiment: Experiment
    overrides: tuple[str, ...] = ()  # KEY.PATH=VALUE
    init: Experiment | None = None  # whose parts are taken over
    init_parts: tuple[str, ...] = ("encoder",)
    espnet: tuple[str, ...] = ()  # options of ESPnet, as they are

    @property
    def leads(self) -> bool:
        """Whether this is the first or only process of a training that several may share."""
        given = dict(zip(self.espnet, self.espnet[1:], strict=False))
        given |= dict(option.split("=", 1) for option in self.espnet if "=" in option)
        if "--dist_rank" in given:
            return given["--dist_rank"] in ("0", "none")
        ranks = {"slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
        launcher = ranks.get(given.get("--dist_launcher", ""), "RANK")
        return os.environ.get(launcher, "0") == "0"


@dataclass(frozen=True)
class TrainConfig:
    """The content of a training YAML, its bases merged in.

    A config with mistakes has one too, so that all that follows can be looked at in the same
    report: a block keeps what is right in it, and empty names where there are none.
    """

    name: str  # of the file or files, for messages
    espnet: Mapping[str, Any]  # every key but ``distill``
    blocks: Mapping[str, DistillBlock] = field(default_factory=dict)  # those switched on
    pick: str = "all"
    problems: tuple[str, ...] = ()  # what is wrong with the form of ``distill``
    section: Any = None  # ``distill`` as it is written; part of an experiment's identity

    @classmethod
    def read(cls, paths: str | Path | tuple[str, ...], overrides: tuple[str, ...]) -> TrainConfig:
        """Read the file or files.

        Parameters
        ----------
        paths : YAMLs; of several, a later one changes those before.
        overrides : ``key.path=value`` each, after all files.

        Raises
        ------
        UserError : unreadable files or overrides of the wrong form. Other mistakes are the
            business of ``distill_asr.train.checks``.
        """
        return cls.parse(load_config(paths, overrides), config_name(paths))

    @classmethod
    def parse(cls, content: Mapping[str, Any], name: str) -> TrainConfig:
        """From a merged mapping.

        Parameters
        ----------
        content : ESPnet's keys and ``distill``; what is wrong there is kept in ``problems``.
        name : of the config, for messages.
        """
        espnet = {key: value for key, value in content.items() if key != "distill"}
        section = content.get("distill")
        if not isinstance(section or {}, dict):
            problem = f"distill: expected named blocks, found {section!r}"
            return cls(name, espnet, problems=(problem,), section=section)
        pick, blocks, problems = "all", {}, []
        for key, value in by_tap(section or {}).items():
            if key == "pick":
                pick = value
                if value not in PICKS:
                    problems.append(f"distill.pick: {value!r}{nearest(value, PICKS)}")
            elif isinstance(value, dict):
                if value:
                    blocks[key], found = parse_block(f"distill.{written_name(key)}", value)
                    problems += [problem for problem in found if problem not in problems]
            elif value is not None:
                problems.append(f"distill.{key}: expected teacher, tap, loss ..., found {value!r}")
        return cls(name, espnet, blocks, pick, tuple(problems), section)

    @property
    def content(self) -> dict[str, Any]:
        """The whole merged mapping."""
        return {**self.espnet} | ({} if self.section is None else {"distill": self.section})

    def with_espnet(self, **keys: Any) -> TrainConfig:
        """The same with other values of ESPnet's keys."""
        return replace(self, espnet={**self.espnet, **keys})

    def without_distillers(self) -> TrainConfig:
        """The plain student."""
        return replace(self, blocks={}, section=None)

    # -- what is decided by -----------------------------------------------------------

    @property
    def model(self) -> str | None:
        """Name of the student; None if it is missing or not a name."""
        model = self.espnet.get("model")
        return model if isinstance(model, str) else None

    @property
    def needs_text(self) -> bool:
        """Whether the student is trained on transcripts."""
        return self.model not in WITHOUT_TEXT

    @property
    def token_list(self) -> str | None:
        """The file of the token list."""
        listed = self.espnet.get("token_list")
        return listed if isinstance(listed, str) and listed else None

    @property
    def has_pieces(self) -> bool:
        """Whether the tokens are the pieces of a text model, which ``bpemodel`` names."""
        return self.espnet.get("token_type") == PIECES

    @property
    def measures_statistics(self) -> bool:
        """Whether the features' statistics are to be measured before training."""
        normalize = self.espnet.get("normalize")
        return normalize == "global_mvn" and "stats_file" not in self.conf("normalize")

    @property
    def initial_weights(self) -> list[str]:
        """Entries of ``init_param``, FILE:FROM:TO:EXCLUDE, of which the file is enough."""
        given = self.espnet.get("init_param")
        return [str(one) for one in given] if isinstance(given, list) else []

    def conf(self, name: str) -> dict[str, Any]:
        """Arguments of a class, ``<name>_conf``; empty where it is not a mapping."""
        conf = self.espnet.get(f"{name}_conf")
        return conf if isinstance(conf, dict) else {}

    @property
    def pretrained_encoder(self) -> str | None:
        """The model of encoder ``hf_speech``: the student's own, or the one below its front-end."""
        below = self.conf("frontend").get("encoder_conf")
        model = self.conf("encoder").get("model") or (below or {}).get("model")
        return model if isinstance(model, str) else None

    @property
    def teachers(self) -> list[str]:
        """Names of the teachers whose targets it is trained on."""
        return [name for name in self._named() if not is_online(name)]

    @property
    def online_teachers(self) -> list[str]:
        """Files of the teachers that run in the training step."""
        return [name for name in self._named() if is_online(name)]

    def blocks_of(self, teacher: str) -> dict[str, DistillBlock]:
        """The blocks of ``distill:``, each with its teacher."""
        return {name: block for name, block in self.blocks.items() if block.teacher == teacher}

    def _named(self) -> list[str]:
        return sorted({block.teacher for block in self.blocks.values() if block.teacher})


def parse_block(key: str, content: dict[str, Any]) -> tuple[DistillBlock, list[str]]:
    """One block, and what is wrong with its keys, types and what is missing.

    Parameters
    ----------
    key : place of the block, such as ``distill.hubert``, which begins each message.
    content : as the YAML has it.
    """
    problems = check_arguments(key, content, DistillBlock)
    required = {"teacher": "", "tap": "", "loss": ""}
    good = {
        one.name: content[one.name]
        for one in fields(DistillBlock)
        if one.name in content
        and not any(problem.startswith(f"{key}.{one.name}: expected") for problem in problems)
    }
    return DistillBlock(**required | good), problems
