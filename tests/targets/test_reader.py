"""Reading targets by utterance id."""

import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.targets import TargetReader, reader


@pytest.mark.parametrize("codec", ["fp32", "fp16"])
def test_round_trip(make_targets: Callable, codec: str) -> None:
    directory, states, _ = make_targets(codec={"name": codec})
    targets = TargetReader(directory)
    assert sorted(targets.keys()) == sorted(targets) == sorted(states)
    assert len(targets) == 5 and "a" in targets and "x" not in targets
    for utterance, expected in states.items():
        found = targets[utterance]
        assert found.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0 if codec == "fp32" else 2**-11)


def test_missing_id_is_a_key_error(make_targets: Callable) -> None:
    with pytest.raises(KeyError, match=r"x"):
        TargetReader(make_targets()[0])["x"]


def test_kaldi_tools_read_it_too(make_targets: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, states, _ = make_targets()
    monkeypatch.chdir(directory)
    for utterance, matrix in kaldiio.load_scp("targets.scp").items():
        assert np.array_equal(matrix, states[utterance])


def test_the_tree_can_be_moved(make_targets: Callable, tmp_path: Path) -> None:
    directory, states, _ = make_targets()
    moved = tmp_path / "else where [1]" / "t"
    shutil.move(directory, moved)
    assert np.array_equal(TargetReader(moved)["é"], states["é"])


def test_several_directories_as_one(make_targets: Callable) -> None:
    first, a, _ = make_targets("train")
    second, b, _ = make_targets("unlabelled", {"u": 800, "v": 900})
    targets = TargetReader([first, second])
    assert len(targets) == 7
    for utterance, expected in (a | b).items():
        assert np.array_equal(targets[utterance], expected)


def test_directories_of_different_teachers_are_refused(make_targets: Callable) -> None:
    first = make_targets("train")[0]
    second = make_targets("unlabelled", {"u": 800}, layers=(9,))[0]
    with pytest.raises(UserError, match=r"unlabelled.* layers \(9,\) instead of \(2,\)"):
        TargetReader([first, second])


def test_an_utterance_in_two_directories_is_refused(make_targets: Callable) -> None:
    first = make_targets("train")[0]
    second = make_targets("unlabelled", {"u": 800, "a": 900})[0]
    with pytest.raises(UserError, match=r"1 utterance.*e.g. a;"):
        TargetReader([first, second])


def test_pickled_and_forked_readers_agree(make_targets: Callable) -> None:
    directory, states, _ = make_targets()
    targets = TargetReader(directory)
    targets["a"]  # files open before the fork: positions must not be shared
    assert np.array_equal(pickle.loads(pickle.dumps(targets))["b"], states["b"])
    pipe, child = multiprocessing.Pipe()

    def read() -> None:
        good = all(np.array_equal(targets[u], s) for u, s in states.items() for _ in range(50))
        child.send((good, targets._process == os.getpid()))

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    here = all(np.array_equal(targets[u], s) for u, s in states.items() for _ in range(50))
    assert here and pipe.recv() == (True, True)
    process.join()


def test_threads_share_a_reader(make_targets: Callable) -> None:
    directory, states, _ = make_targets()
    targets = TargetReader(directory)
    with ThreadPoolExecutor(4) as pool:
        ids = sorted(states) * 100
        for utterance, found in zip(ids, pool.map(targets.__getitem__, ids), strict=True):
            assert np.array_equal(found, states[utterance])


def test_few_files_stay_open(make_targets: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, states, _ = make_targets()
    monkeypatch.setattr(reader, "MAX_OPEN_FILES", 2)
    targets = TargetReader(directory)
    for utterance, expected in [*states.items()] * 2:
        assert np.array_equal(targets[utterance], expected)
        assert len(targets._files) <= 2


def test_damage_is_named_not_returned(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    scp = directory / "targets.scp"
    lines = dict(line.split(" ") for line in scp.read_text().splitlines())
    swapped = lines | {"a": lines["b"], "b": lines["a"]}
    scp.write_text("".join(f"{u} {place}\n" for u, place in swapped.items()))
    with pytest.raises(UserError, match=r"targets.scp: damaged or changed by hand"):
        TargetReader(directory)
    (directory / "checksums.sha256").unlink()  # as of targets dumped before there was one
    with pytest.raises(UserError, match=r"does not hold utterance a;"):
        TargetReader(directory)["a"]
    (directory / "targets.0001.ark").write_bytes(b"d ")
    with pytest.raises(UserError, match=r"0001.ark: utterance d .*damaged"):
        TargetReader(directory)["d"]
    (directory / "targets.0002.ark").unlink()
    with pytest.raises(UserError, match=r"0002.ark: missing although targets.scp names it"):
        TargetReader(directory)["é"]
    for line in ("a", "a ../x.ark:3", "a x.ark:-1", "a x.ark:²", f"a x.ark:{'9' * 30}", ""):
        scp.write_text(f"{line}\n")
        with pytest.raises(
            UserError, match=r"scp:1: expected `utterance ark:offset` with an ark beside"
        ):
            TargetReader(directory)


def test_an_ark_never_runs_code(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    path = directory / "targets.0002.ark"
    path.write_bytes("é PKL".encode() + pickle.dumps([1]))
    with pytest.raises(UserError, match=r"does not hold utterance é"):
        TargetReader(directory)["é"]
