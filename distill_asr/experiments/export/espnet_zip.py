"""A model directory of stock ESPnet as one file, in the form of espnet_model_zoo."""

from __future__ import annotations

import platform
import zipfile
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from distill_asr.errors import UserError
from distill_asr.io.files import atomic_write

META = "meta.yaml"


def pack_model(directory: Path, archive: Path) -> Path:
    """Pack what ``export_model`` wrote, for ``Speech2Text.from_pretrained`` and the like.

    ESPnet unpacks it anywhere: whoever unpacks puts the place before the names that the config
    holds, so they are bare here.

    Parameters
    ----------
    directory : with ``config.yaml`` and the weights.
    archive : zip file to write.

    Raises
    ------
    UserError : the file exists already, or it is not called .zip, by which ESPnet recognises
        what it is.
    """
    check_archive(archive)
    config = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
    for place, key in ((config.get("normalize_conf") or {}, "stats_file"), (config, "bpemodel")):
        if place.get(key):
            place[key] = Path(place[key]).name
    meta = {
        "files": {"asr_model_file": "model.pth"},
        "yaml_files": {"asr_train_config": "config.yaml"},
        "espnet": version("espnet"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    others = sorted(path for path in directory.iterdir() if path.name != "config.yaml")
    with atomic_write(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        packed.writestr(META, yaml.safe_dump(meta, sort_keys=False))
        packed.writestr("config.yaml", yaml.safe_dump(config, sort_keys=False))
        for path in others:
            packed.write(path, path.name)
    return archive


def check_archive(archive: Path) -> None:
    """Raise UserError where an archive cannot be written under this name."""
    if archive.suffix != ".zip":
        raise UserError(f"--pack {archive}: expected a name that ends in .zip")
    if archive.exists():
        raise UserError(f"--pack {archive}: exists already; remove it, or choose another one")
