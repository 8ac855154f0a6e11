"""A verb that works says what it does, and nothing of the libraries below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

NOISE = re.compile(r"warn|deprecat|flash|typeguard|set decoder to none|legacy_rel|autocast", re.I)


@pytest.mark.slow
def test_no_banner_reaches_the_terminal(recipe) -> None:
    """Train stage 1 and 2, decode, pseudo-label: each started as a user does."""
    first = recipe.train_command(recipe.config("encoder_only", ["one"]), "first")
    cif = recipe.config("cif", ["one"], normalize="global_mvn", num_workers=1)
    commands = [first, recipe.train_command(cif, "exp", "--init", recipe.root / "first")]
    commands.append(["decode", "--exp", recipe.root / "exp", "--data", recipe.dev_set])
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "distill_asr", *map(str, command)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        noise = [line for line in done.stderr.splitlines() if NOISE.search(line)]
        assert noise == [], command[0]
