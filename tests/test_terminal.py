"""A verb that works says what it does, and nothing of the libraries below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import distill_asr
from distill_asr.testing.data_dirs import write_labelled_dir
from distill_asr.testing.fixtures import make_prepared_dir, tiny_speech_teacher

NOISE = re.compile(r"warn|deprecat|flash|typeguard|set decoder to none|legacy_rel|autocast", re.I)


# what a read-only installation answers: nothing below its directories can be opened for writing
READ_ONLY = """
import errno, os, sys
kept = tuple(os.environ["READ_ONLY"].split(os.pathsep))
def hook(event, found):
    path = found[0] if found else None
    if event not in ("open", "os.mkdir") or not isinstance(path, (str, bytes)):
        return
    writes = event == "os.mkdir" or found[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and os.path.abspath(os.fsdecode(path)).startswith(kept):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
sys.addaudithook(hook)
from distill_asr.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_read_only(command: list) -> subprocess.CompletedProcess[str]:
    """Run a verb where HOME is not there, and the installation cannot be written."""
    installed = [Path(distill_asr.__file__).parent, Path(torch.__file__).parents[1]]
    env = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    env |= {"HOME": "/proc/nohome", "PYTHONPATH": os.pathsep.join(sys.path)}
    env["READ_ONLY"] = os.pathsep.join(map(str, installed))
    words = [sys.executable, "-c", READ_ONLY, *map(str, command)]
    return subprocess.run(words, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_no_banner_where_nothing_but_the_output_can_be_written(recipe) -> None:
    """Train stage 1 and 2, decode: started as a user does, in a container without a HOME."""
    first = recipe.train_command(recipe.config("encoder_only", ["one"]), "first")
    cif = recipe.config("cif", ["one"], normalize="global_mvn", num_workers=1)
    commands = [first, recipe.train_command(cif, "exp", "--init", recipe.root / "first")]
    commands.append(["decode", "--exp", recipe.root / "exp", "--data", recipe.dev_set])
    for command in commands:
        done = run_read_only(command)
        assert done.returncode == 0, done.stderr
        noise = [line for line in done.stderr.splitlines() if NOISE.search(line)]
        assert noise == [], command[0]


def test_no_home_and_a_read_only_installation(tmp_path: Path) -> None:
    """Prepare and dump, which need no ESPnet."""
    data = make_prepared_dir(tmp_path / "src", utterances=2)
    tiny_speech_teacher(tmp_path / "hubert")
    teacher = tmp_path / "t.yaml"
    teacher.write_text(f"kind: speech\nmodel: {tmp_path / 'hubert'}\nlayers: [2]\n")
    for command in (["prepare", data, tmp_path / "dst"],
                    ["dump", tmp_path / "dst", "--teacher", teacher]):  # fmt: skip
        done = run_read_only(command)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "dst/targets/t/manifest.json").is_file()
    assert run_read_only(["prepare", data, Path(distill_asr.__file__).parent / "o"]).returncode == 1


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
