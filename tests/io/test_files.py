"""Files appear whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from distill_asr.io.files import atomic_write, write_text_atomic


def test_new_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent, "a rename is atomic in one file system only"
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["file.txt"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    code = (
        "import os, signal, sys\n"
        "from distill_asr.io.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('ne')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"
    write_text_atomic(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["file.txt"], "whoever writes next takes the litter away"


def test_two_writers_at_once(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    with atomic_write(target) as first, atomic_write(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first", "the outer block ends last"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """Whether the block's own library says so (Python) or not (torch, soundfile)."""
    for block in ("temporary.write_bytes(bytes(1000))", "raise RuntimeError('hidden')"):
        code = (
            "import resource, sys\n"
            "from distill_asr.io.files import atomic_write\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
            "try:\n"
            "    with atomic_write(sys.argv[1]) as temporary:\n"
            f"        {block}\n"
            "except OSError as error:\n"
            "    print(error.filename)\n"
        )
        target = tmp_path / "file.txt"
        done = subprocess.run(
            [sys.executable, "-c", code, target], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{target}\n"
        assert os.listdir(tmp_path) == []


def test_rename_failure_removes_the_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError), atomic_write(target) as temporary:
        temporary.write_text("x")
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text_atomic(tmp_path / "atomic", "x")
        (tmp_path / "plain").write_text("x")
        assert os.umask(umask) == umask, "the process keeps its umask"
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "plain")]
    assert modes[0] == modes[1] == 0o666 & ~umask


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "file", "grüße 語\n")
    assert (tmp_path / "file").read_bytes() == "grüße 語\n".encode()
