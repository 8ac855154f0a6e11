"""A trained student, as its experiment directory describes it."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml

from distill_asr.errors import UserError
from distill_asr.io.checkpoint import read_checkpoint

DISTILLATION = "distillers."  # prefix of training-only parameters


def read_experiment(directory: str | Path, checkpoint: str) -> tuple[dict, dict]:
    """Resolved config and weights of an experiment, without its distillers.

    Raises
    ------
    UserError : the directory has no config or no such checkpoint.
    """
    directory = Path(directory)
    config_file, model_file = directory / "config.yaml", directory / checkpoint
    missing = [str(file) for file in (config_file, model_file) if not file.exists()]
    if missing:
        raise UserError(
            [f"{file}: no such file; is the training in {directory} finished?" for file in missing]
        )
    config = yaml.safe_load(config_file.read_text(encoding="utf-8"))
    config = {key: value for key, value in config.items() if not key.startswith("distill")}
    weights = read_checkpoint(model_file, f"put a good copy back, or train {directory} again")
    return config, {k: v for k, v in weights.items() if not k.startswith(DISTILLATION)}


def load_student(
    directory: str | Path, checkpoint: str, device: str = "cpu"
) -> tuple[torch.nn.Module, argparse.Namespace]:
    """A student ready to recognise, and ESPnet's arguments it was built from.

    Raises
    ------
    UserError : files are missing, or the weights do not fit the config.
    """
    from distill_asr.espnet.task import DistillTask

    config, weights = read_experiment(directory, checkpoint)
    args = argparse.Namespace(**config, distill={}, distill_teachers={})
    student = DistillTask.build_model(args)
    try:
        student.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise UserError(f"{Path(directory) / checkpoint}: {error}") from error
    return student.to(device).eval(), args
