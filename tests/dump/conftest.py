"""A recipe directory with a teacher that needs no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distill_asr import cli
from distill_asr.io.identity import CACHE
from distill_asr.testing.data_dirs import write_data_dir

HERE = Path(__file__).parent
LENGTHS = {f"utt{i:02d}": 1600 + 1111 * (i * 5 % 7) for i in range(12)}


class Place:
    """One prepared set, and dumps of it with four shards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.teacher = root / "plain.yaml"
        self.configure()
        self.data = write_data_dir(root / "dump/train", LENGTHS)
        self.targets = self.data / "targets/plain"

    def configure(self, **conf: object) -> None:
        """Write the teacher's file; ``conf`` are arguments of ``PlainTeacher``."""
        content = {"kind": "plain_teacher.PlainTeacher", "conf": conf, "batch_seconds": 0.4}
        self.teacher.write_text(yaml.safe_dump(content))

    def command(self, *more: object) -> list[str]:
        plain = ["dump", "--teacher", self.teacher, "--shard-utts", 3, self.data]
        return [str(word) for word in (*plain, *more)]

    def dump(self, *more: object) -> int:
        """Run the verb in this process."""
        return cli.main(self.command(*more))

    def start(self, *more: object) -> subprocess.Popen:
        """Run the verb in another process, as the leader of a process group."""
        return subprocess.Popen(
            [sys.executable, "-m", "distill_asr", *self.command(*more)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Every file of the targets, hidden ones too; but not what was hashed when."""
        paths = [path for path in self.targets.rglob("*") if path.is_file()]
        paths = [path for path in paths if path.name != CACHE]
        return {str(path.relative_to(self.targets)): path.read_bytes() for path in paths}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    """What a dump in one process leaves behind."""
    other = Place(tmp_path / "undisturbed")
    assert other.dump() == 0
    return other.files()
