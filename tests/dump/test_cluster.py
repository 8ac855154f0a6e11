"""Dumps on a cluster: dask's own local one here, the others as far as their files go."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed")
from distill_asr.dump.cluster import ClusterConfig
from distill_asr.errors import UserError
from distill_asr.targets.verify import check_targets

CONF = Path(__file__).parents[2] / "conf/cluster"


def problems_of(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        ClusterConfig.read(path)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_lost_workers_shard_is_redone_elsewhere(place, undisturbed) -> None:
    mark = place.root / "died"
    place.configure(dies=str(mark))
    assert place.dump("--cluster", CONF / "local.yaml") == 0
    assert mark.exists()
    assert place.files() == undisturbed
    assert check_targets(place.targets, reread=True) == []


def test_mistakes_of_users_come_out_of_the_cluster_whole(place, capsys) -> None:
    (place.data / "wav/utt04.wav").write_bytes((place.data / "wav/utt07.wav").read_bytes())
    lengths = (place.data / "utt2num_samples").read_text().replace("utt04 ", "utt04 1")
    (place.data / "utt2num_samples").write_text(lengths)
    assert place.dump("--cluster", CONF / "local.yaml") == 1
    assert "utterance utt04: " in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["local", "slurm", "ssh"])
def test_files_that_come_with_the_recipes(kind: str) -> None:
    config = ClusterConfig.read(CONF / f"{kind}.yaml")
    assert (config.kind, config.workers) == (kind, 8 if kind == "slurm" else 2)
    assert config.worker_threads() == {"local": 1, "slurm": 4, "ssh": 8}[kind]


SBATCH = """job=$(mktemp {folder}/job.XXXX)
cp "$1" "$job"
setsid bash "$job" >"$job.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """kill -- "-$1"
"""


def test_slurm(place, undisturbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """sbatch and scancel are played by scripts that start and end the job right here."""
    folder = place.root / "bin"
    play(monkeypatch, folder, sbatch=SBATCH.replace("{folder}", str(folder)), scancel=SCANCEL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    mine = place.root / "mine.yaml"
    options = f"{{interface: lo, log_directory: {folder}}}"
    mine.write_text(f"extends: {CONF / 'slurm.yaml'}\nworkers: 1\noptions: {options}\n")
    assert place.dump("--cluster", mine) == 0
    assert place.files() == undisturbed
    job = next(path for path in folder.glob("job.*") if path.suffix != ".log").read_text()
    for line in ("#SBATCH -p gpu", "#SBATCH --cpus-per-task=4", "#SBATCH --gres=gpu:1"):
        assert line in job.splitlines()


def play(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Put these programs first on PATH."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("sbatch", "said"),
    [
        ("echo 'invalid partition: gpu' >&2; exit 1", "can be started: Command exited with"),
        ("echo Submitted batch job 7", "no worker came within 0.01 minutes; look whether its job"),
    ],
)
def test_a_worker_that_never_comes(place, monkeypatch, capsys, sbatch: str, said: str) -> None:
    folder = place.root / "bin"
    play(monkeypatch, folder, sbatch=sbatch, scancel=f'echo "$@" > {folder}/cancelled')
    mine = place.root / "mine.yaml"
    options = "{cores: 1, memory: 1GB, interface: lo}"
    mine.write_text(f"kind: slurm\nwait_minutes: 0.01\noptions: {options}\n")
    assert place.dump("--cluster", mine) == 1
    report = capsys.readouterr().err
    assert f"{mine}: no worker " in report and said in report and "Traceback" not in report
    assert ("invalid partition: gpu" in report) == ("invalid" in sbatch)
    assert (folder / "cancelled").exists() == ("7" in sbatch)  # the job that waits is taken back


def test_a_cluster_that_cannot_start(place, capsys) -> None:
    mine = place.root / "mine.yaml"
    options = "{cores: 1, memory: 1GB, interface: nowhere}"
    mine.write_text(f"kind: slurm\noptions: {options}\n")
    assert place.dump("--cluster", mine) == 1
    report = capsys.readouterr().err
    assert f"{mine}: the cluster does not start: " in report and "correct `options:`" in report


@pytest.fixture
def over_ssh(place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a cluster of two workers, reached through a real ssh server on this machine."""
    pytest.importorskip("asyncssh")
    from ssh_server import ssh_server

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    mine = place.root / "mine.yaml"
    with ssh_server() as port:
        connect = f"{{port: {port}, known_hosts: null}}"
        options = f"{{hosts: {3 * ['127.0.0.1']}, connect_options: {connect}}}"
        mine.write_text(f"extends: {CONF / 'ssh.yaml'}\nthreads: 1\noptions: {options}\n")
        yield mine


def test_ssh(place, undisturbed, over_ssh: Path) -> None:
    assert place.dump("--cluster", over_ssh) == 0
    assert place.files() == undisturbed


@pytest.mark.slow  # dask takes its time to be sure
def test_the_schedulers_death_loses_no_finished_shard(
    place, undisturbed, over_ssh: Path, capsys
) -> None:
    go_on = place.root / "go_on"
    place.configure(waits=str(go_on))  # no worker ends before the scheduler is dead

    def kill() -> None:
        while not list(place.targets.glob("targets.*.ark")):
            time.sleep(0.01)
        for process in psutil.process_iter(["cmdline"]):
            if "distributed.Scheduler" in " ".join(process.info["cmdline"] or ()):
                process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert place.dump("--cluster", over_ssh) == 1
    go_on.touch()
    killer.join()
    assert "run the same command again" in capsys.readouterr().err
    left = {name for name in place.files() if name.endswith(".ark")}
    assert 1 <= len(left) < 4
    place.configure()
    assert place.dump() == 0
    assert place.files() == undisturbed


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path / "c.yaml",
        "kind: slurm\nworkers: 0\nthreds: 2\noptions: {quee: gpu, n_workers: 3, memory: 4GB}\n",
    )
    for word in ("'threds'", "workers: given 0", "options.quee", "options.n_workers: follows from"):
        assert any(word in problem for problem in found), word
    assert "did you mean 'queue'" in " ".join(found)
    assert "options.cores: missing" in found
    assert len(found) == 5


@pytest.mark.parametrize(
    "text, word",
    [
        ("kind: lokal\n", "did you mean 'local'"),
        ("workers: 2\n", "kind: given None"),
        ("kind: ssh\n", "options.hosts: missing"),
        ("kind: ssh\noptions: {hosts: [a]}\n", "expected a list: the scheduler's host"),
        ("kind: ssh\nworkers: 3\noptions: {hosts: [a, b]}\n", "workers: follows from"),
        ("kind: local\noptions: 3\n", "expected a mapping"),
        ("kind: local\nwait_minutes: 0\n", "wait_minutes: given 0, expected a number"),
        ("kind: slurm\noptions: {cores: many, memory: 1GB}\n", "options.cores: given 'many'"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, word: str) -> None:
    assert any(word in problem for problem in problems_of(tmp_path / "c.yaml", text))


def test_workers_are_set_in_one_place(place, capsys) -> None:
    assert place.dump("--cluster", CONF / "local.yaml", "--nj", 2) == 1
    assert "--cluster: workers and threads are set in its file" in capsys.readouterr().err
