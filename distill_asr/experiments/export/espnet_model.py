"""Export to a model directory of stock ESPnet."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from torch import Tensor

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.errors import UserError
from distill_asr.espnet.plugin import ENCODERS, FRONTENDS, POSTENCODERS
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.export.directory import new_directory, require_finished
from distill_asr.experiments.export.espnet_zip import pack_model
from distill_asr.experiments.layout import AVERAGED
from distill_asr.experiments.student import build, fit, read_student
from distill_asr.io.files import atomic_write, write_text_atomic


def export_model(
    experiment: str | Path,
    output: str | Path,
    checkpoint: str = AVERAGED,
    archive: Path | None = None,
) -> tuple[Path, Path]:
    """Write ``config.yaml`` and ``model.pth`` for ``espnet2.bin.asr_inference``.

    Heads are dropped and the student's model name becomes ESPnet's own. Files that the config
    names (feature statistics, a sentencepiece model) are copied along; ``config.yaml`` names them
    below ``output`` as it is given here. Pieces of a text model (``token_type: hugging_face``) are
    words to stock ESPnet: it gives them separately.

    Parameters
    ----------
    experiment : directory of a training.
    output : directory to write.
    checkpoint : file name of the weights in ``experiment``.
    archive : zip file that is written too.

    Returns
    -------
    The two paths.

    Raises
    ------
    UserError : the training is not finished, the student or a part of it is not one that stock
        ESPnet has, its files are missing, its weights do not fit its config, or there is no room;
        nothing is written.
    """
    require_finished(Path(experiment), checkpoint)
    trained, weights = read_student(experiment, checkpoint)
    if trained.model != "ctc":
        raise UserError(
            f"{experiment}: model {trained.model!r} does not load in stock ESPnet; "
            "only ctc students (CTC and CTC/attention) do"
        )
    fit(build(trained), weights, Path(experiment) / checkpoint)
    _refuse_own_parts(trained)
    output = Path(output)
    with new_directory(output) as directory:
        written = write_model(trained, weights, directory, output)
        if archive is not None:
            pack_model(directory, archive)
    return output / written[0].name, output / written[1].name


def _refuse_own_parts(trained: ModelConfig) -> None:
    """UserError where a part is a class of this package, which stock ESPnet lacks."""
    own: dict[str, Mapping[str, type]] = {
        "frontend": FRONTENDS,
        "encoder": ENCODERS,
        "postencoder": POSTENCODERS,
    }
    problems = [
        f"{trained.file}: {part}: {trained.values[part]} is a part of distill_asr, which stock "
        "ESPnet does not have; export --to onnx, or train with one of ESPnet's"
        for part, ours in own.items()
        if str(trained.values.get(part)) in ours
    ]
    if problems:
        raise UserError(problems)


def write_model(
    trained: ModelConfig, weights: Mapping[str, Tensor], output: Path, place: Path | None = None
) -> tuple[Path, Path]:
    """Write a CTC student that is loaded already, see ``export_model``.

    Parameters
    ----------
    trained : config of the training.
    weights : tensors by name.
    output : directory to write.
    place : where ``output`` will lie when the config is read, if not there.
    """
    config = copy.deepcopy(trained.values) | {"model": "espnet"}
    # decoding needs neither the training data nor what training started from
    for key in list(config):
        if key.startswith(("train_data", "valid_data", "train_shape", "valid_shape", "init_param")):
            config[key] = []
    for key in ("config", "output_dir"):
        config.pop(key, None)
    if trained.token_type == PIECES:  # which stock ESPnet would number by the whole vocabulary
        config |= {"token_type": "word", "bpemodel": None}
    _copy_files(config, output, place or output)
    with atomic_write(output / "model.pth") as temporary:
        torch.save(weights, temporary)
    write_text_atomic(output / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    return output / "config.yaml", output / "model.pth"


def _copy_files(config: dict, output: Path, place: Path) -> None:
    """Put what the config names beside it, and name the copies by where they will lie."""
    conf = config.get("normalize_conf") or {}
    for part, key in ((conf, "stats_file"), (config, "bpemodel")):
        if part.get(key):
            name = Path(part[key]).name
            with atomic_write(output / name) as temporary:
                shutil.copyfile(part[key], temporary)
            part[key] = str(place / name)
