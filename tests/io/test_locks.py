"""One process at a time in a directory, and no kill that locks it for good."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill_asr.errors import UserError
from distill_asr.io.locks import is_held, lock_path, locked

HOLD = """
import sys
from distill_asr.io.locks import locked
with locked(sys.argv[1], "testing"):
    print("held", flush=True)
    sys.stdin.read()
"""
RACE = """
import sys
from pathlib import Path
from distill_asr.errors import UserError
from distill_asr.io.locks import locked
counter, inside = Path(sys.argv[2]), Path(sys.argv[3])
for _ in range(200):
    try:
        with locked(sys.argv[1], "racing"):
            inside.touch(exist_ok=False)  # fails if another one is inside
            counter.write_text(str(int(counter.read_text()) + 1))
            inside.unlink()
            print(1)
    except UserError:
        pass
"""


def run(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    holder = run(HOLD, tmp_path / "out")
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError) as error, locked(tmp_path / "out", "testing too"):
        pass
    assert f"process {holder.pid} on {os.uname().nodename}, testing since" in str(error.value)
    holder.communicate("")
    with locked(tmp_path / "out", "testing"):
        pass
    assert os.listdir(tmp_path) == [], "neither a lock file nor the directory is left"


def test_names_through_links_are_one_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with (
        locked(tmp_path / "real", "testing"),
        pytest.raises(UserError, match="this very process"),
        locked(tmp_path / "link", "testing"),
    ):
        pass


def test_a_kill_does_not_lock_for_good(tmp_path: Path) -> None:
    holder = run(HOLD, tmp_path / "out")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert lock_path(tmp_path / "out").exists()
    with locked(tmp_path / "out", "testing"):
        assert json.loads(lock_path(tmp_path / "out").read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_a_killed_holder_holds_no_longer(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "out")
    holder = run(HOLD, tmp_path / "out")
    assert holder.stdout.readline() == "held\n"
    assert is_held(tmp_path / "out")
    holder.kill()
    holder.wait()
    assert lock_path(tmp_path / "out").exists() and not is_held(tmp_path / "out")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    done = run("pass")
    done.wait()
    host = os.uname().nodename
    left = tmp_path / f".out.lock.{host}.{done.pid}.abc.tmp"
    others = [f".out.lock.{host}.{os.getpid()}.abc.tmp", f".out.lock.elsewhere.{done.pid}.abc.tmp"]
    for name in [left.name, *others]:
        (tmp_path / name).touch()
    with locked(tmp_path / "out", "testing"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_a_forked_child_does_not_keep_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    code = HOLD.replace(
        'print("held"', 'import os, time\n    os.fork() or time.sleep(60)\n    print("held"'
    )
    holder = run(code, tmp_path / "out")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "out", "testing"):
        pass


def test_a_holder_on_another_host_is_named_with_the_file_to_remove(tmp_path: Path) -> None:
    path = lock_path(tmp_path / "out")
    record = {"host": "far", "boot": "b", "pid": 7, "doing": "dumping", "since": "yesterday"}
    path.write_text(json.dumps(record))
    with pytest.raises(UserError) as error, locked(tmp_path / "out", "testing"):
        pass
    assert "process 7 on far, dumping since yesterday" in str(error.value)
    assert f"remove {path}" in str(error.value)
    assert json.loads(path.read_text()) == record


@pytest.mark.parametrize("content", ["{", "[]", '{"host": "here"}', "\x00\xff"])
def test_an_unreadable_lock_file_is_named(tmp_path: Path, content: str) -> None:
    path = lock_path(tmp_path / "out")
    path.write_text(content)
    with (
        pytest.raises(UserError, match=f"cannot be read.*remove {path}"),
        locked(tmp_path / "out", "testing"),
    ):
        pass


OLD_HOLD = """
import fcntl, sys
stream = open(sys.argv[1], "a")
fcntl.flock(stream, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_an_empty_lock_file_of_an_old_version_is_taken_over_when_nobody_holds_it(
    tmp_path: Path,
) -> None:
    path = lock_path(tmp_path / "out")
    holder = run(OLD_HOLD, path)
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match="being written by another command"),
        locked(tmp_path / "out", "testing"),
    ):
        pass
    holder.communicate("")
    assert path.read_bytes() == b""
    with locked(tmp_path / "out", "testing"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_racing_processes_are_never_inside_together(tmp_path: Path) -> None:
    counter, inside = tmp_path / "counter", tmp_path / "inside"
    counter.write_text("0")
    racers = [run(RACE, tmp_path / "out", counter, inside) for _ in range(3)]
    counts = []
    while any(racer.poll() is None for racer in racers):
        time.sleep(0.05)
    for racer in racers:
        counts.append(len(racer.communicate()[0].split()))
        assert racer.returncode == 0
    assert sum(counts) == int(counter.read_text()) > 0


def test_an_error_inside_frees_the_directory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / "out", "testing"):
        raise RuntimeError
    with locked(tmp_path / "out", "testing"):
        pass


def test_directories_made_for_the_lock_go_where_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a/b/c", "testing"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "a/b/c", "testing"):
        (tmp_path / "a/b/c").mkdir()
    assert os.listdir(tmp_path / "a/b") == ["c"]
    with locked(tmp_path / "a/d", "testing"):
        pass
    assert os.listdir(tmp_path / "a") == ["b"], "what was there stays"
