"""Teacher files: all mistakes at once."""

from pathlib import Path

import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.teachers.config import TeacherConfig

ROOT = Path(__file__).parents[2]
GOOD = {"kind": "speech", "model": "some/model", "layers": [2]}


TEXT = {"kind": "text", "model": "some/model", "layers": [2]}
RECOGNISER = {"kind": "recogniser", "model": "exp/big", "output": "posteriors"}


@pytest.mark.parametrize("path", sorted((ROOT / "conf/teacher").glob("*.yaml")), ids=str)
def test_shipped_files_are_valid(path: Path) -> None:
    config = TeacherConfig.read(path)
    if config.kind == "recogniser":
        assert config.output == "words" and config.task == "transcribe"
        return
    assert config.kind in ("speech", "text") and len(config.layers) == 1
    assert config.codec["name"] in ("fp16", "fp32")
    comment = path.read_text().partition("kind:")[0]
    assert f"{config.layers[0]} layers, width " in comment  # the last one


def test_defaults() -> None:
    config = TeacherConfig.from_mapping(GOOD, "x.yaml")
    assert (config.combine, config.dtype, config.codec) == (None, "float32", {"name": "fp32"})
    assert (config.batch_seconds, config.batch_tokens, config.text) == (None, 4096, "text")
    assert (config.on("cpu").batch_seconds, config.on("cuda:1").batch_seconds) == (10, 60)
    assert config.online is False and config.conf == {}
    assert TeacherConfig.from_mapping(RECOGNISER, "x.yaml").layers == ()


def test_one_layer_has_nothing_to_combine() -> None:
    alone = TeacherConfig.from_mapping(GOOD, "x.yaml")
    assert TeacherConfig.from_mapping({**GOOD, "combine": "mean"}, "x.yaml") == alone


def test_every_mistake_is_reported_with_file_key_and_way_out(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "kind: speach\nlayer: [1]\nlayers: [1, 1]\ncombine: avg\ndtype: fp64\n"
        "codec: {name: fp61, level: 3}\nbatch_seconds: 0\n"
    )
    with pytest.raises(UserError) as caught:
        TeacherConfig.read(path)
    problems = caught.value.problems
    assert all(problem.startswith(f"{path}: ") for problem in problems)
    text = "\n".join(problem.removeprefix(f"{path}: ") for problem in problems)
    assert "unknown key 'layer' (did you mean layers?); allowed: kind, model" in text
    assert "model: missing" in text
    assert "kind: unknown value 'speach' (did you mean speech?)" in text
    assert "layers: given [1, 1]" in text
    assert "combine: unknown value 'avg'" in text and "mean, stack" in text
    assert "dtype: unknown value 'fp64'" in text
    assert "codec: unknown name 'fp61'; did you mean 'fp16'?" in text
    assert "batch_seconds: given 0" in text
    assert len(problems) == 8


def problems_of(content: dict) -> list[str]:
    with pytest.raises(UserError) as caught:
        TeacherConfig.from_mapping(content, "x.yaml")
    return [problem.removeprefix("x.yaml: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layers": [1, 2]}, "combine: missing, but 2 layers"),
        ({"layers": []}, "layers: given []"),
        ({"layers": [-1]}, "layers: given [-1]"),
        ({"layers": [True]}, "layers: given [True]"),
        ({"layers": 24}, "layers: given 24"),
        ({"model": ["a"]}, "model: given ['a']"),
        ({"codec": "fp16"}, "codec: given 'fp16'"),
        ({"codec": {"name": ["fp16"]}}, "codec: unknown name ['fp16']"),
        ({"codec": {"name": "fp16", "codebooks": 8}}, "codec: unknown option 'codebooks'"),
        ({"batch_seconds": True}, "batch_seconds: given True"),
        ({"kind": ["speech"]}, "kind: unknown value ['speech']"),
        ({3: 4}, "unknown key 3"),
        ({"online": "yes"}, "online: given 'yes', expected true or false"),
        ({"compile": 1}, "compile: given 1, expected true or false"),
        ({"text": "text"}, "unknown key 'text'"),
    ],
)
def test_single_mistakes(change: dict, message: str) -> None:
    (problem,) = problems_of({**GOOD, **change})
    assert problem.startswith(message)


@pytest.mark.parametrize(
    "base, change, message",
    [
        (TEXT, {"layers": [1, 2]}, "combine: missing, but 2 layers"),
        (TEXT, {"batch_tokens": 0.5}, "batch_tokens: given 0.5"),
        (TEXT, {"text": "a/text"}, "text: given 'a/text', expected the plain name of a file"),
        (RECOGNISER, {"output": None}, "output: missing; one of posteriors, path, states"),
        (RECOGNISER, {"output": "paths"}, "output: unknown value 'paths' (did you mean path?)"),
        (RECOGNISER, {"checkpoint": "a/b.pth"}, "checkpoint: given 'a/b.pth'"),
        (RECOGNISER, {"text": "text"}, "text: posteriors need no text"),
        ({"kind": "json.JSONDecoder"}, {"conf": [1]}, "conf: given [1], expected a mapping"),
    ],
)
def test_single_mistakes_of_other_kinds(base: dict, change: dict, message: str) -> None:
    (problem,) = problems_of(base | change)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    "base, key, owner",
    [
        (GOOD, "batch_tokens", "text and random and your own"),
        (GOOD, "output", "recogniser"),
        (TEXT, "batch_seconds", "speech and recogniser and your own"),
        (RECOGNISER, "layers", "speech and text"),
        (RECOGNISER, "dtype", "speech and text"),
    ],
)
def test_a_key_of_another_kind(base: dict, key: str, owner: str) -> None:
    good = {"layers": [1], "output": "path", "dtype": "float32"}
    (problem,) = problems_of(base | {key: good.get(key, 5)})
    assert problem.startswith(f"unknown key {key!r}")
    assert problem.endswith(f"; {key!r} is a key of kind {owner}") and "allowed: kind" in problem


def test_nearest_name_for_a_key_of_another_kind() -> None:
    (problem,) = problems_of(TEXT | {"batch_seconds": 60})
    assert "unknown key 'batch_seconds' (did you mean batch_tokens?)" in problem


def test_a_path_is_stored_exactly() -> None:
    path = RECOGNISER | {"output": "path", "text": "pseudo"}
    assert TeacherConfig.from_mapping(path, "x.yaml").codec == {"name": "fp32"}
    (problem,) = problems_of(path | {"codec": {"name": "fp16"}})
    assert problem.startswith("codec: 'fp16' does not bring a path's frame numbers")
    assert int(np.float16(2049)) != 2049  # why


def test_a_kind_that_nothing_resembles_is_the_only_thing_said_about_it() -> None:
    (problem,) = problems_of({"kind": "xyz", "model": "m", "layers": [1], "batch_tokens": 5})
    assert problem.startswith(
        "kind: unknown value 'xyz'; allowed: speech, text, random, recogniser, or"
    )
