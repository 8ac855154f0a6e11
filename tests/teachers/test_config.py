"""Teacher files: all mistakes at once."""

from pathlib import Path

import pytest

from distill_asr.errors import UserError
from distill_asr.teachers.config import TeacherConfig

ROOT = Path(__file__).parents[2]
GOOD = {"kind": "speech", "model": "some/model", "layers": [2]}


@pytest.mark.parametrize("path", sorted((ROOT / "conf/teacher").glob("*_large.yaml")), ids=str)
def test_shipped_files_are_valid(path: Path) -> None:
    config = TeacherConfig.read(path)
    assert config.layers == (24,)
    assert config.codec["name"] in ("fp16", "fp32")


def test_defaults() -> None:
    config = TeacherConfig.from_mapping(GOOD, "x.yaml")
    assert (config.combine, config.dtype, config.codec) == (None, "float32", {"name": "fp32"})
    assert config.batch_seconds == 60


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
    assert "codec: unknown name 'fp61' (did you mean fp16?)" in text
    assert "batch_seconds: given 0" in text
    assert len(problems) == 8


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
    ],
)
def test_single_mistakes(change: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TeacherConfig.from_mapping({**GOOD, **change}, "x.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"x.yaml: {message}")
