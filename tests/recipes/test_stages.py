"""egs/common/distill.sh with a user's own corpus: options and mistakes.

Every stage, and what a second run does: tools/smoke_recipes.sh.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distill_asr.testing.fixtures import tiny_config

ROOT = Path(__file__).parents[2]
STAGES = ROOT / "egs" / "common" / "distill.sh"

# a user's own corpus: short noise with transcripts in the letters of tiny_config
CORPUS = """
from dataclasses import dataclass

import numpy as np, soundfile

from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.data.datadir import DataDir

@dataclass(frozen=True)
class NoiseOptions:
    utterances: int = option(3, "of each set")

class Noise(Corpus[NoiseOptions]):
    summary = "Noise."
    options = NoiseOptions

    def build(self, out, options):
        rng = np.random.default_rng(0)
        sets = {}
        for name in ("train", "unlab", "dev", "test"):
            (out / name).mkdir(parents=True, exist_ok=True)
            wav = {f"s-{name}{i}": out / name / f"{i}.wav" for i in range(options.utterances)}
            for path in wav.values():
                soundfile.write(path, rng.normal(0, 0.1, 20000).clip(-1, 1), 16000)
            text = None if name == "unlab" else dict.fromkeys(wav, "ab ba")
            DataDir(out / name, wav, text, dict.fromkeys(wav, "s")).write(out / name)
            sets[name] = CorpusSet(len(wav), 1, labelled=text is not None)
        return Built(sets)
"""
TEACHER = {
    "kind": "speech",
    "model_type": "hubert",
    "model": {
        "conv_dim": [8, 16], "conv_kernel": [400, 4], "conv_stride": [160, 2],
        "feat_extract_norm": "layer", "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2, "layerdrop": 0.0,
    },
    "training": {"num_train_epochs": 1, "per_device_train_batch_size": 4, "seed": 1},
}  # fmt: skip
SYSTEMS = {
    "teachers": {
        "t": {
            "config": "teacher/t.yaml",
            "train": {"config": "teacher_t.yaml", "train": "data/train", "dev": "data/dev"},
        }
    },
    "pretrain": {"t": {"config": "pretrain.yaml", "train": ["train", "unlab"]}},
    "systems": {
        "baseline": {"config": "train.yaml"},
        "both": {"pretrain": "t", "config": "train.yaml"},
    },
}
OPTIONS = (
    "--corpus own_corpus.Noise --unlabelled_sets unlab --test_sets test "
    "--decode_opts --method=greedy"
).split()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    conf = tmp_path / "conf"
    (conf / "teacher").mkdir(parents=True)
    (tmp_path / "own_corpus.py").write_text(CORPUS)
    student = {**tiny_config("transducer"), "token_list": "dump/tokens.txt", "max_epoch": 1}
    stage1 = {**tiny_config("encoder_only"), "max_epoch": 1}
    stage1["distill"] = {"t": {"teacher": "t", "tap": "encoder", "loss": "l1"}}
    teacher = {
        "kind": "speech",
        "model": "exp/teachers/t",
        "layers": [1],
        "codec": {"name": "fp16"},
    }
    for name, content in {
        "train.yaml": student,
        "pretrain.yaml": stage1,
        "teacher_t.yaml": TEACHER,
        "teacher/t.yaml": teacher,
    }.items():
        (conf / name).write_text(yaml.safe_dump(content))
    (conf / "systems.yaml").write_text(yaml.safe_dump(SYSTEMS))
    return tmp_path


def run(recipe: Path, *options: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    modules = os.pathsep.join([str(ROOT), str(recipe)])
    return subprocess.run(
        ["bash", str(STAGES), *options],
        cwd=recipe,
        env={**os.environ, "PATH": path, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stagge", "1"], "unknown option --stagge"),
        (["--stage"], "--stage needs a value"),
        (["--systems", "bath"], "conf/systems.yaml: no system 'bath'; did you mean 'both'?"),
        (["data"], "unexpected argument 'data'"),
        (["--systems", "both"], "--baseline baseline: not among the systems both; give one"),
    ],
)
def test_wrong_options(recipe: Path, options: list[str], message: str) -> None:
    done = run(recipe, *options)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_no_program(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    done = subprocess.run(
        [bash, str(STAGES)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "no distill-asr on the PATH; install it" in done.stderr


def test_help(recipe: Path) -> None:
    done = run(recipe, "--help")
    assert done.returncode == 0 and "--seeds" in done.stdout


def test_stage_1_builds_the_corpus_that_is_named(recipe: Path) -> None:
    options = ["--corpus_opts", "--utterances 4", "--stop_stage", "1"]
    done = run(recipe, *OPTIONS, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == ["unlab", "4", "1", "no"]
    assert len((recipe / "data" / "dev" / "text").read_text().splitlines()) == 4


def test_a_failing_stage_stops_the_run(recipe: Path) -> None:
    done = run(recipe, *OPTIONS, "--corpus_opts", "--utterances none")
    assert done.returncode != 0
    assert "stage 1: data" in done.stderr and "stage 2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_is_prepared_with_one_choice_of_limits(tmp_path: Path) -> None:
    """One that is both judged by and scored, as AISHELL's dev, among them."""
    stub = tmp_path / "bin" / "distill-asr"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\n[ "$1" = prepare ] && echo "$@" >> {tmp_path}/said\nexit 0\n')
    stub.chmod(0o755)
    command = ["bash", STAGES, "--corpus", "x", "--stage", "2", "--stop_stage", "2",
               "--valid_set", "dev", "--test_sets", "dev test"]  # fmt: skip
    env = os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}"}
    subprocess.run(command, check=True, cwd=tmp_path, env=env, capture_output=True)
    limits: dict[str, set[str]] = {}
    for line in (tmp_path / "said").read_text().splitlines():
        limits.setdefault(line.split()[2], set()).add(line.partition("--min-duration")[2])
    scored = {" 0 --max-duration inf"}
    assert limits == {"dump/train": {""}, "dump/dev": scored, "dump/test": scored}
