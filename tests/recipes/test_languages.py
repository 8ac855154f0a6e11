"""egs/common/languages.sh through Common Voice's recipe: every stage, with tiny local models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distill_asr.io.yaml import load_yaml
from distill_asr.recipe.systems import Systems
from distill_asr.testing.commonvoice import write_language
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import save_text_model
from distill_asr.train.checks import check_config

ROOT = Path(__file__).parents[2]
RECIPES = [ROOT / "egs" / name / "asr1" for name in ("commonvoice", "mini_multilingual")]
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=["commonvoice", "mini_multilingual"])


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(folder / "run.sh"), *options],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=1800,
    )


@each_recipe
def test_help_and_wrong_options(recipe: Path) -> None:
    shown = run(recipe, "--help")
    assert shown.returncode == 0 and "--candidates" in shown.stdout


@each_recipe
def test_every_config_is_right(recipe: Path, tmp_path: Path) -> None:
    """With a tiny model in place of the one that a hub or an earlier stage has."""
    model = str(save_speech_model(tmp_path / "model", "wav2vec2"))
    for path in sorted(recipe.glob("conf/systems*.yaml")):
        systems = Systems.read(path)
        for one in (*systems.pretrain.values(), *systems.systems.values()):
            config = one.resolved()
            below = "frontend_conf." if config.espnet.get("frontend") == "trained_encoder" else ""
            check_config(one.resolved([f"{below}encoder_conf.model={model}"]))
        whole_words = "pieces are the words" in (recipe / "conf/systems.yaml").read_text()
        read = {one.resolved().text for one in systems.teachers.values()}
        assert read == ({"text"} if whole_words else {"text_original"})


def test_weights_are_what_the_names_say() -> None:
    """The factor that stands in for ESPnet's undivided CTC loss is one in all experiments."""
    recipe = RECIPES[0]
    full = load_yaml(recipe / "conf" / "l2s.yaml")["distill"]["text"]["weight"]
    for path in recipe.glob("conf/systems*.yaml"):
        systems = Systems.read(path).systems
        weighted = [name for name in systems if name.startswith("l2s_")]
        assert len(weighted) == 3
        for name in weighted:
            weight = systems[name].resolved().content["distill"]["text"]["weight"]
            assert weight == float(name.split("_")[1]) * full


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with Common Voice's recipe on tiny models, and a little corpus."""
    (tmp_path / "egs").mkdir()
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "egs" / "common").symlink_to(ROOT / "egs" / "common")
    recipe = tmp_path / "egs" / "commonvoice" / "asr1"
    ignored = shutil.ignore_patterns("exp", "langs", "downloads")
    shutil.copytree(ROOT / "egs" / "commonvoice" / "asr1", recipe, ignore=ignored)
    plain = load_yaml(recipe / "conf" / "plain.yaml")
    plain["encoder_conf"]["model"] = str(save_speech_model(tmp_path / "speech", "wav2vec2"))
    plain |= {"batch_size": 2, "num_iters_per_epoch": 4, "max_epoch": 1, "use_amp": False}
    (recipe / "conf" / "plain.yaml").write_text(yaml.safe_dump(plain | {"num_workers": 0}))
    text = save_text_model(tmp_path / "text", "xlm-roberta")
    teacher = {"kind": "text", "model": str(text), "layers": [3]}
    (recipe / "conf" / "teacher").mkdir()
    (recipe / "conf" / "teacher" / "infoxlm_base.yaml").write_text(yaml.safe_dump(teacher))
    write_language(tmp_path / "corpus" / "cv-corpus-1" / "ta")
    return tmp_path


@pytest.mark.slow
def test_all_stages_for_one_language(tree: Path) -> None:
    """What a second run does, the smoke recipe shows (tools/smoke_recipes.sh)."""
    recipe = tree / "egs" / "commonvoice" / "asr1"
    options = ["--languages", "ta", "--candidates", "l2s_0.5,l2s_1"]
    corpus = str(tree / "corpus")
    first = run(recipe, *options, COMMONVOICE=corpus)
    assert first.returncode == 0, first.stderr[-4000:]
    language, chosen = (recipe / "exp" / "chosen").read_text().split()
    assert language == "ta" and chosen in ("l2s_0.5", "l2s_1")
    exp = recipe / "langs" / "ta" / "exp"
    decoded = {path.parent.parent.name for path in exp.glob("*/decode/test")}
    assert decoded == {"plain_seed1", f"{chosen}_seed1"}, "the test set is for the chosen one"
    assert len(list(exp.glob("*/decode/dev"))) == 3
    table = (recipe / "exp" / "REPORT.md").read_text()
    assert table.splitlines()[2].startswith("| ta |") and chosen in table


def test_no_corpus(tree: Path) -> None:
    done = run(tree / "egs" / "commonvoice" / "asr1", "--languages", "ka", COMMONVOICE="")
    assert done.returncode != 0
    assert "COMMONVOICE=DIR" in done.stderr and "Traceback" not in done.stderr


def commands(recipe: Path, *options: str) -> list[list[str]]:
    """What a run of the recipe asks of distill-asr: a program that only writes it down."""
    calls = recipe.parents[2] / "calls"
    calls.unlink(missing_ok=True)
    program = recipe.parents[2] / "bin/distill-asr"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(recipe / "run.sh"), *options],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in calls.read_text().splitlines()]


def test_the_speech_model_comes_along_or_is_trained(tmp_path: Path) -> None:
    recipe = tmp_path / "egs/mini_multilingual/asr1"
    shutil.copytree(RECIPES[1], recipe, ignore=shutil.ignore_patterns("exp", "langs", "data"))
    (tmp_path / "egs/common").symlink_to(ROOT / "egs/common")
    options = ["--languages", "ka mk", "--stage", "3", "--stop_stage", "3"]
    text, bert = commands(recipe, *options)
    assert text[text.index("--text") + 1] == "ka,mk"
    assert bert[0] == "train-teacher" and "exp/models/bert" in bert
    ready = recipe / "teachers/speech/model.safetensors"
    taken = recipe / "exp/models/speech/model.safetensors"
    assert taken.read_bytes() == ready.read_bytes()
    taken.write_bytes(b"trained here")
    assert commands(recipe, *options) == [text, bert] and taken.read_bytes() == b"trained here"
    made = commands(recipe, *options, "--train_teachers", "true")
    assert made[0] == text and "--pretraining" in made[1] and "exp/models/speech" in made[2]


def test_each_candidate_is_compared_with_the_baseline_and_the_control(tmp_path: Path) -> None:
    recipe = tmp_path / "egs/human_multilingual/asr1"
    ignored = shutil.ignore_patterns("exp", "langs")
    shutil.copytree(ROOT / "egs/human_multilingual/asr1", recipe, ignore=ignored)
    (tmp_path / "egs/common").symlink_to(ROOT / "egs/common")
    options = ["--joint", "true", "--languages", "ru es", "--stage", "6"]
    made = commands(recipe, *options)
    assert [words[:2] for words in made[:3]] == [
        ["recipe", w] for w in ("train", "decode", "decode")
    ]
    assert all("plain,l2s,aligned,random" in words for words in made[:3])
    wanted = ("--baseline", "--candidates", "--out")
    reports = [tuple(words[words.index(name) + 1] for name in wanted) for words in made[3:]]
    assert reports == [
        ("plain", "l2s", "exp/REPORT_joint_l2s.md"),
        ("random", "l2s", "exp/REPORT_joint_l2s_over_random.md"),
        ("plain", "aligned", "exp/REPORT_joint_aligned.md"),
        ("random", "aligned", "exp/REPORT_joint_aligned_over_random.md"),
        ("plain", "random", "exp/REPORT_joint_random.md"),
    ]
