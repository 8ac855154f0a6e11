"""Export to a model directory of stock ESPnet."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from distill_asr.decode.model import read_experiment
from distill_asr.errors import UserError
from distill_asr.files import atomic_write, write_text_atomic


def export_model(
    experiment: str | Path, output: str | Path, checkpoint: str = "valid.loss.ave.pth"
) -> tuple[Path, Path]:
    """Write ``config.yaml`` and ``model.pth`` for ``espnet2.bin.asr_inference``.

    Heads are dropped and the student's model name becomes ESPnet's own.

    Returns
    -------
    The two paths.

    Raises
    ------
    UserError : the student is not one that stock ESPnet has, or its files are missing.
    """
    config, weights = read_experiment(experiment, checkpoint)
    if config["model"] != "ctc":
        raise UserError(
            f"{experiment}: model {config['model']!r} does not load in stock ESPnet; "
            "only ctc students (CTC and CTC/attention) do"
        )
    config["model"] = "espnet"
    # decoding needs neither the training data nor what training started from
    for key in list(config):
        if key.startswith(("train_data", "valid_data", "train_shape", "valid_shape", "init_param")):
            config[key] = []
    output = Path(output)
    with atomic_write(output / "model.pth") as temporary:
        torch.save(weights, temporary)
    write_text_atomic(output / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    return output / "config.yaml", output / "model.pth"
