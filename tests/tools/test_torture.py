"""The torture bench itself, and a short run of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from distill_asr.testing.torture.processes import Limits, Outcome, start_real, start_warm
from distill_asr.testing.torture.scene import matches, write_sources
from distill_asr.testing.torture.trials import damage

ROOT = Path(__file__).parents[2]
SECONDS = 30.0


def run(*options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools/torture.py", *map(str, options)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_repeatable_and_shows(seed: int) -> None:
    content = bytes(range(1, 200))
    damaged, how = damage(content, random.Random(seed))
    assert (damaged, how) == damage(content, random.Random(seed))
    assert damaged != content


def test_empty_files_become_longer() -> None:
    damaged, how = damage(b"", random.Random(0))
    assert damaged and how == "longer"


def test_patterns_take_slashes() -> None:
    assert matches("exp/a/stats/train/feats_stats.npz", ("exp/a/stats/*.npz",))
    assert not matches("exp/ab/x", ("exp/a/*",))


@pytest.mark.parametrize("start", [start_warm, start_real])
def test_a_verb_in_a_process_group(start, tmp_path: Path) -> None:
    write_sources(tmp_path)
    command = ["prepare", "src/train", "dump/train"]
    outcome = start(command, tmp_path, Limits()).wait(SECONDS)
    assert outcome.code == 0 and outcome.fault is None
    assert (tmp_path / "dump/train/prepare.json").is_file()
    outcome = start(["prepare", "nowhere", "dump/other"], tmp_path, Limits()).wait(SECONDS)
    assert outcome.clean_error and "nowhere" in outcome.stderr


def test_kill_and_children(tmp_path: Path) -> None:
    write_sources(tmp_path)
    command = ["dump", "--teacher", "conf/moments.yaml", "--nj", "2", "src/train"]
    (tmp_path / "src/train/utt2num_samples").write_text("spk0-train-00 1\n")
    running = start_warm(command, tmp_path, Limits())
    assert running.wait(0.0) is None
    running.kill()
    assert running.wait(SECONDS).code == -9
    assert running.children() == []


def test_a_limit_on_files(tmp_path: Path) -> None:
    write_sources(tmp_path)
    command = ["prepare", "src/train", "dump/train"]
    outcome = start_warm(command, tmp_path, Limits(file_bytes=100)).wait(SECONDS)
    assert outcome.code == 1


def test_faults_of_an_outcome() -> None:
    assert Outcome(0, 0.1, "").fault is None
    assert Outcome(1, 0.1, "distill-asr train: error: 1 problem\nx").fault is None
    assert Outcome(1, 0.1, "").fault.startswith("NO ERROR MESSAGE")
    said = "Traceback (most recent call last):\n  x\nKeyError: 'y'\n"
    assert Outcome(1, 0.1, said).fault == "TRACEBACK KeyError: 'y'"
    assert Outcome(-11, 0.1, "").fault.startswith("EXIT -11")


def test_options() -> None:
    assert "--trial needs --only" in run("--trial", 3).stderr


@pytest.mark.slow
def test_a_short_run_without_a_loss(tmp_path: Path) -> None:
    done = run("--seed", 3, "--kills", 4, "--flips", 6, "--races", 1, "--disks", 2,
               "--readonlys", 1, "--clocks", 1, "--work", tmp_path / "work")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
