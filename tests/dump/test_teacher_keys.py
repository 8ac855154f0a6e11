"""A teacher that ``--set`` changes, or describes without a file."""

import argparse
from pathlib import Path

import pytest

from distill_asr.dump import command as dump
from distill_asr.errors import UserError
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.speech_models import save_speech_model


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    dump.add_arguments(parser)
    return dump.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_teacher_without_a_file_of_its_own(tmp_path: Path) -> None:
    """The same keys give the same bytes, wherever they stand."""
    save_speech_model(tmp_path / "model")
    data = write_data_dir(tmp_path / "dump/train", {"utt1": 8000, "utt2": 9000})
    keys = {"kind": "speech", "model": str(tmp_path / "model"), "layers": "[2]"}
    file, base = tmp_path / "whole.yaml", tmp_path / "base.yaml"
    lines = [f"{key}: {value}\n" for key, value in keys.items()]
    file.write_text("".join(lines))
    base.write_text("".join(lines).replace("[2]", "[1]"))
    every_key = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    assert run(data, "--teacher", file) == 0
    assert run(data, "--teacher", base, "--set", "layers=[2]", "--name", "changed") == 0
    assert run(data, "--teacher", base, "--teacher", file, "--name", "merged") == 0
    assert run(data, *every_key, "--name", "alone") == 0
    whole = data / "targets" / "whole"
    arks = [path.name for path in whole.rglob("*.ark")]
    assert arks
    for name in ("changed", "merged", "alone"):
        other = whole.with_name(name)
        assert all((other / ark).read_bytes() == (whole / ark).read_bytes() for ark in arks)
    with pytest.raises(UserError, match="--name: missing"):
        run(data, *every_key)
    with pytest.raises(UserError, match="--teacher: missing"):
        run(data)
