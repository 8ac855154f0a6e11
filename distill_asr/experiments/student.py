"""A trained student, as its experiment directory describes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from distill_asr.errors import UserError, few
from distill_asr.espnet.task import DistillTask
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.layout import AVERAGED, Experiment
from distill_asr.experiments.record import altered_files
from distill_asr.io.checkpoint import read_checkpoint

DISTILLATION = "distillers."  # prefix of training-only parameters


def load_student(
    directory: str | Path, checkpoint: str = AVERAGED, device: str = "cpu"
) -> tuple[nn.Module, ModelConfig]:
    """A student ready to recognise, and the config it was built from.

    Parameters
    ----------
    directory : the experiment.
    checkpoint : name of the weights there; the average of the best epochs by default.
    device : of torch.

    Raises
    ------
    UserError : files are missing or damaged, or the weights do not fit the config.
    """
    config, weights = read_student(directory, checkpoint)
    student = build(config)
    fit(student, weights, Path(directory) / checkpoint)
    return student.to(device).eval(), config


def build(config: ModelConfig) -> nn.Module:
    """A model with random weights, on the CPU."""
    return DistillTask.build_model(config.to_espnet())


def read_student(directory: str | Path, checkpoint: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Config and weights of a student, without its distillers; nothing is built.

    Parameters
    ----------
    directory : the experiment.
    checkpoint : name of the weights there.

    Raises
    ------
    UserError : files are missing or damaged; both are reported.
    """
    problems: list[str] = []
    config, weights = None, {}
    try:
        config = ModelConfig.read(directory)
    except UserError as error:
        problems += error.problems
    try:
        weights = read_weights(directory, checkpoint)
    except UserError as error:
        problems += error.problems
    if config is None or problems:
        raise UserError(problems)
    return config, {k: v for k, v in weights.items() if not k.startswith(DISTILLATION)}


def read_weights(directory: str | Path, checkpoint: str) -> dict[str, Tensor]:
    """Weights by the name of their parameter.

    Parameters
    ----------
    directory : the experiment.
    checkpoint : name of the weights there.

    Raises
    ------
    UserError : no such file, a damaged one, another than a training ended with, or one that holds
        something else.
    """
    file = Path(directory) / checkpoint
    if not file.exists():
        raise UserError(f"{file}: no such file; is the training in {directory} finished?")
    if changed := altered_files(Experiment(Path(directory)), [file]):
        raise UserError(changed)
    content = read_checkpoint(file, f"put a good copy back, or train {directory} again")
    if isinstance(content, dict) and all(isinstance(v, Tensor) for v in content.values()):
        return content
    found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
    raise UserError(
        f"{file}: expected the weights of a model, found {found}; the state of a training is not a "
        f"model: use {AVERAGED} or <number>epoch.pth"
    )


def fit(model: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load weights of the very same parameters and sizes.

    Parameters
    ----------
    model : gets them.
    weights : by the name of their parameter.
    file : where they come from, for the message.

    Raises
    ------
    UserError : parameters are missing, too many, or of another size.
    """
    own = model.state_dict()
    problems = []
    if missing := own.keys() - weights.keys():
        problems.append(f"lacks {few(sorted(missing))}")
    if unknown := weights.keys() - own.keys():
        problems.append(f"has parameters that the model lacks: {few(sorted(unknown))}")
    sizes = {
        f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    }
    if sizes:
        problems.append(f"has another size of {few(sorted(sizes))}")
    if problems:
        raise UserError(
            f"{file}: does not fit the config.yaml beside it: {'; '.join(problems)}; take the "
            "checkpoint and config.yaml of one training"
        )
    model.load_state_dict(weights, strict=True)
