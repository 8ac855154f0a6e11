"""Worker processes: the same bytes as one process, whatever happens to them."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import soundfile

from distill_asr.io.locks import locked
from distill_asr.targets.verify import check_targets


def test_two_processes_write_what_one_does(place, undisturbed) -> None:
    assert place.dump("--nj", 2) == 0
    assert place.files() == undisturbed
    assert check_targets(place.targets, reread=True) == []


def test_a_dead_worker_is_replaced_and_its_shard_redone(place, undisturbed) -> None:
    mark = place.root / "died"
    place.configure(dies=str(mark))
    assert place.dump("--nj", 2) == 0
    assert mark.exists()
    assert place.files() == undisturbed


def test_a_worker_that_dies_again_and_again_is_an_error(place, undisturbed, capsys) -> None:
    place.configure(dies=str(place.root / "died"), always=True)
    assert place.dump("--device", "cpu,cpu") == 1
    report = capsys.readouterr().err
    assert "worker on cpu died 3 times" in report and "signal 9" in report and "--nj" in report
    assert "Traceback" not in report
    place.configure()
    assert place.dump("--nj", 2) == 0
    assert place.files() == undisturbed


def test_mistakes_of_users_come_out_of_workers_whole(place, capsys) -> None:
    for utterance in ("utt04", "utt07"):
        path = place.data / f"wav/{utterance}.wav"
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples * float("nan"), rate, subtype="FLOAT")
    assert place.dump("--nj", 2) == 1
    report = capsys.readouterr().err
    assert "2 problems" in report and "utterance utt04: " in report and "utt07: " in report


def test_faults_of_the_program_show_where_they_were(place) -> None:
    place.configure(fails="what a pity")
    with pytest.raises(RuntimeError, match=r"(?s)in a worker:\n.*in _states.*what a pity"):
        place.dump("--nj", 2)


def test_dumps_of_one_target_refuse_each_other(place, capsys) -> None:
    with locked(place.targets, "testing"):
        assert place.dump("--nj", 2) == 1
    assert "already writing there" in capsys.readouterr().err


def until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_work(targets: Path) -> bool:
    return any(targets.glob(".targets.*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(place, undisturbed, number: int) -> None:
    place.configure(pause=0.2)
    process = place.start("--nj", 2)
    until(lambda: in_work(place.targets))
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    os.kill(process.pid, number)
    assert process.wait(30) == (130 if number == signal.SIGINT else -number)
    until(lambda: not any(worker.is_running() for worker in workers), 10)
    place.configure()
    assert place.dump() == 0
    assert place.files() == undisturbed


def test_interrupted_at_the_keyboard_and_continued(place, undisturbed) -> None:
    """Exit code 130 and one line; the same command then writes the same bytes."""
    place.configure(pause=0.2)
    process = place.start()
    until(lambda: list(place.targets.glob("*.ark")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert said.splitlines()[-1] == "distill-asr dump: interrupted"
    place.configure()
    assert place.dump() == 0 and place.files() == undisturbed
