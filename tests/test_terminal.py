"""A verb that works says what it does, and nothing of the libraries below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill_asr.testing.data_dirs import write_labelled_dir

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


def test_a_locale_that_cannot_spell_a_name(tmp_path: Path) -> None:
    """An ASCII file system encoding, and audio whose name is not."""
    source = write_labelled_dir(tmp_path / "src", ["a-1"])
    audio = next((tmp_path / "src").rglob("*.wav"))
    (source / "wav.scp").write_text(f"a-1 {audio.rename(audio.with_name('grün.wav'))}\n", "utf-8")
    env = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "distill_asr", "prepare", source, tmp_path / "dst"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot spell this name of a file" in done.stderr and "PYTHONUTF8=1" in done.stderr
