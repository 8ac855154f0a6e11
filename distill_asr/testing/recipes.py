"""Recipes of the repository, run on little trees: a copy whose teachers and students are tiny."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

EGS = Path(__file__).parents[2] / "egs"


class RecipeCopy:
    """A recipe in a tree of its own, with what it shares with others.

    Parameters
    ----------
    root : where the tree is made.
    name : of the recipe, such as ``librispeech_100``.
    """

    def __init__(self, root: Path, name: str) -> None:
        ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads", "__pycache__")
        for part in ("common", f"{name}/asr1"):
            shutil.copytree(EGS / part, root / "egs" / part, ignore=ignored)
        shutil.copytree(EGS.parent / "conf", root / "conf")
        self.path = root / "egs" / name / "asr1"

    def change(self, config: str, changes: dict[str, Any]) -> None:
        """Merge changes over a config, for itself and all that extend it.

        The config is the recipe's own, or else one that recipes share.

        Parameters
        ----------
        config : name of the file in ``conf``, without ``.yaml``.
        changes : keys to set; mappings are merged.
        """
        own = self.path / "conf" / f"{config}.yaml"
        path = own if own.is_file() else self.path.parents[2] / "conf" / f"{config}.yaml"
        original = path.with_name(f"original_{path.name}")
        path.rename(original)
        _write(path, original.name, changes)

    def run(self, *options: str, script: str = "run.sh", **variables: object) -> Any:
        """Run the recipe's script; a completed process with its output as text.

        Parameters
        ----------
        options : arguments of the script.
        script : its name in the recipe's folder.
        variables : environment variables on top of this process's.

        Raises
        ------
        subprocess.TimeoutExpired : it took longer than 30 minutes.
        """
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        modules = os.pathsep.join([str(EGS.parent), os.environ.get("PYTHONPATH", "")])
        variables = {"PATH": path, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1"} | variables
        return subprocess.run(
            ["bash", script, *options],
            cwd=self.path,
            env=os.environ | {name: str(value) for name, value in variables.items()},
            capture_output=True,
            text=True,
            timeout=1800,
        )


def _write(path: Path, base: str, changes: dict[str, Any]) -> None:
    content = yaml.safe_dump({"extends": base, **changes}, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def parameters(config: dict[str, Any], vocabulary: int) -> int:
    """Parameters of the student of a training config with so many tokens, heads left out.

    Parameters
    ----------
    config : a whole training config.
    vocabulary : tokens, the three special ones included.
    """
    from distill_asr.espnet.task import build_untrained

    tokens = ["<blank>", "<unk>", *map(str, range(vocabulary - 3)), "<sos/eos>"]
    plain = {**config, "token_list": tokens, "distill": {}, "normalize": None}
    return sum(parameter.numel() for parameter in build_untrained(plain).parameters())
