"""Hostile files that are read without ESPnet: nothing runs, nothing is written outside."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from distill_asr.errors import UserError
from distill_asr.io.yaml import load_config
from distill_asr.targets.codebooks import unpack
from distill_asr.targets.reader import TargetReader
from distill_asr.testing.fixtures import make_prepared_dir, write_targets

GIGABYTES_4 = 0xFFFFFF00


def data_dir(path: Path, key: str = "a", audio: str | None = None) -> Path:
    """A data dir of one utterance at 8 kHz, so that it is converted."""
    path.mkdir(parents=True)
    file = path.parent / "a.wav"
    soundfile.write(file, np.zeros(8000), 8000)
    (path / "wav.scp").write_text(f"{key} {audio or file}\n")
    (path / "utt2spk").write_text(f"{key} {key}\n")
    return path


@pytest.mark.parametrize("tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "name:os.mkdir"])
def test_yaml_tag(tag: str, tmp_path: Path, mark: Path, refused) -> None:
    hostile = f"!!python/{tag} [{str(mark)!r}]"
    config = tmp_path / "config.yaml"
    for content in (hostile, f"encoder: {hostile}", f"? {hostile}\n: 1"):
        config.write_text(content)
        assert str(config) in refused("validate", config)
        extending = tmp_path / "extending.yaml"
        extending.write_text("extends: config.yaml")
        assert str(config) in refused("validate", extending)
        data = make_prepared_dir(tmp_path / "train")
        assert str(config) in refused("dump", "--teacher", config, data)
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(_plain(tmp_path), [f"encoder={hostile}"])
    assert not mark.exists()


def _plain(root: Path) -> Path:
    path = root / "plain.yaml"
    path.write_text(yaml.safe_dump({"model": "ctc"}))
    return path


def test_yaml_bomb(tmp_path: Path, refused) -> None:
    """Nine levels of nine aliases: a billion words if they were written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        before = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{before}]")
    config = tmp_path / "config.yaml"
    config.write_text("\n".join(lines))
    assert len(refused("validate", config)) < 100_000


@pytest.mark.parametrize("key", ["../../../out", "..", "/tmp/out", "a/b"])
def test_id_that_is_a_path(key: str, tmp_path: Path, refused) -> None:
    source = data_dir(tmp_path / "deep/er/src", key)
    before, target = set(tmp_path.rglob("*")), tmp_path / "deep/er/dst"
    assert key in refused("prepare", source, target)
    assert (
        not {path for path in tmp_path.rglob("*") if target not in (path, *path.parents)} - before
    )


def test_audio_that_is_a_command(tmp_path: Path, mark: Path, refused) -> None:
    commands = (f"mkdir {mark} |", f"| mkdir {mark}", f"$(mkdir {mark})", f"`mkdir {mark}`")
    for number, command in enumerate(commands):
        source = data_dir(tmp_path / f"src{number}", audio=command)
        refused("prepare", source, tmp_path / "dst")
        (source / "utt2num_samples").write_text("a 8000\n")
        teacher = tmp_path / "plain.yaml"
        kind = "distill_asr.testing.torture.teacher.MomentsTeacher"
        teacher.write_text(yaml.safe_dump({"kind": kind}))
        refused("dump", "--teacher", teacher, source)


def test_links_in_the_output(tmp_path: Path) -> None:
    """A link where the converted audio goes is replaced, not followed."""
    from distill_asr import cli

    source, target = data_dir(tmp_path / "src"), tmp_path / "dst"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (target / "wav").mkdir(parents=True)
    for name in ("wav/a.wav", "wav.scp", "utt2spk", "prepare.json"):
        (target / name).symlink_to(victim)
    cli.main(["prepare", str(source), str(target)])
    assert victim.read_text() == "precious"


def test_what_a_message_quotes_cannot_command_the_terminal(tmp_path: Path, refused) -> None:
    source = data_dir(tmp_path / "src", key="a\x1b[2Jb\u202ec")
    said = refused("prepare", source, tmp_path / "dst")
    assert "a\\x1b[2Jb\\u202ec" in said and "\x1b" not in said and "\u202e" not in said


@pytest.mark.parametrize("declared", [GIGABYTES_4, 0x7FFFFFF0, 0])
def test_header_that_claims_4_gigabytes(declared: int, tmp_path: Path, capsys) -> None:
    """The samples that are there are read, or the file is refused; nothing is reserved for it."""
    from distill_asr import cli

    source = data_dir(tmp_path / "src")
    file = tmp_path / "a.wav"
    content = bytearray(file.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", declared)
    file.write_bytes(content)
    code = cli.main(["prepare", str(source), str(tmp_path / "dst")])
    report = capsys.readouterr().err
    assert "Traceback" not in report
    if code == 0:
        assert (tmp_path / "dst/utt2num_samples").read_text() == "a 16000\n"
    else:
        assert code == 1 and "a: " in report


def hostile_arks() -> dict[str, bytes]:
    """Entries of an ark, without their key."""
    rows = struct.pack("<i", 2**31 - 1)
    claims = np.lib.format.header_data_from_array_1_0(np.zeros((1, 3), np.float32))
    huge = str(claims | {"shape": (2**40, 3)}).encode() + b"\n"
    numpy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(huge)) + huge
    objects = str(claims | {"descr": "|O"}).encode() + b"\n"
    pickled = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(objects)) + objects
    return {
        "matrix": b"\0BFM \x04" + rows + b"\x04" + rows,
        "compressed": b"\0BCM " + struct.pack("<ff", 0, 1) + rows * 2,
        "vector": b"\0BFV \x04" + rows,
        "numpy": b"NPY" + numpy,
        "objects": b"NPY" + pickled,
        "audio": b"AUDIO" + b"\x01\x04" + rows,
        "flac": b"fLaC" + bytes(100),
        "pickle": b"PKL",
    }


@pytest.mark.parametrize("kind", hostile_arks())
def test_ark_entries(kind: str, tmp_path: Path, trap, mark: Path) -> None:
    data = make_prepared_dir(tmp_path / "train", utterances=2)
    write_targets(data, "t")
    directory = data / "targets/t"
    utterance, place = (directory / "targets.scp").read_text().splitlines()[0].split()
    key = f"{utterance} ".encode()
    content = key + hostile_arks()[kind] + pickle.dumps(trap)
    (directory / place.split(":")[0]).write_bytes(content)
    (directory / "targets.scp").write_text(f"{utterance} {place.split(':')[0]}:{len(key)}\n")
    with pytest.raises(UserError, match="targets"):
        TargetReader(directory)[utterance]
    assert not mark.exists()


@pytest.mark.parametrize(
    "place", ["../../../secret.ark:2", "/etc/passwd:2", "targets.ark:9" + "9" * 30]
)
def test_scp_that_leads_elsewhere(place: str, tmp_path: Path) -> None:
    data = make_prepared_dir(tmp_path / "train", utterances=2)
    write_targets(data, "t")
    scp = data / "targets/t/targets.scp"
    utterance = scp.read_text().split()[0]
    scp.write_text(f"{utterance} {place}\n")
    with pytest.raises(UserError, match=r"targets\.scp|offset|ark"):
        TargetReader(data / "targets/t")[utterance]


def test_codebooks(tmp_path: Path, trap, mark: Path) -> None:
    path = tmp_path / "codebooks.safetensors"
    claim = struct.pack("<Q", 2**62) + b"{}"
    head = b'{"a":{"dtype":"F32","shape":[4294967295],"data_offsets":[0,17179869180]}}'
    for content in (pickle.dumps(trap), claim, struct.pack("<Q", len(head)) + head):
        path.write_bytes(content)
        with pytest.raises(UserError, match="codebooks"):
            unpack(path)
    assert not mark.exists()
