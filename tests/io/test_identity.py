"""Content is what identifies a file, and unchanged files are not read twice."""

import hashlib
import os
from pathlib import Path

import pytest

from distill_asr.errors import UserError
from distill_asr.io import identity
from distill_asr.io.identity import audio_identity, content_identity


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written a moment ago count as settled."""
    monkeypatch.setattr(identity, "_SETTLED_NS", -(10**12))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read."""
    files: list[str] = []
    hashed = identity.file_sha256
    monkeypatch.setattr(identity, "file_sha256", lambda p: files.append(Path(p).name) or hashed(p))
    return files


def written(tmp_path: Path, **contents: str) -> dict[str, Path]:
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return {name: tmp_path / name for name in contents}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_digests_and_no_second_reading(tmp_path: Path, read: list[str]) -> None:
    paths = written(tmp_path, a="one", b="two")
    for _ in range(2):
        found = audio_identity(paths, tmp_path / "cache")
        assert found == {"a": sha256("one"), "b": sha256("two")}
    assert sorted(read) == ["a", "b"]


def test_a_file_replaced_in_place_is_noticed(tmp_path: Path) -> None:
    """Same size, same modification time, same inode."""
    paths = written(tmp_path, a="one")
    audio_identity(paths, tmp_path / "cache")
    facts = os.stat(paths["a"])
    with open(paths["a"], "r+") as stream:
        stream.write("eno")
    os.utime(paths["a"], ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert audio_identity(paths, tmp_path / "cache") == {"a": sha256("eno")}


def test_a_link_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    paths = written(tmp_path, one="1", two="2")
    link = tmp_path / "link"
    for name, content in (("one", "1"), ("two", "2")):
        link.unlink(missing_ok=True)
        link.symlink_to(paths[name])
        assert audio_identity({"u": link}, tmp_path / "cache") == {"u": sha256(content)}


def test_what_has_just_changed_is_not_remembered(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_SETTLED_NS", 10**12)
    paths = written(tmp_path, a="one")
    for _ in range(2):
        audio_identity(paths, tmp_path / "cache")
    assert read == ["a", "a"]


@pytest.mark.parametrize("damage", ["", "{}", "x\n{}", "cut", "flip"])
def test_a_damaged_cache_is_computed_anew(tmp_path: Path, read: list[str], damage: str) -> None:
    paths, cache = written(tmp_path, a="one"), tmp_path / "cache"
    audio_identity(paths, cache)
    good = cache.read_text()
    flipped = good.replace(sha256("one"), sha256("two"))
    cache.write_text({"cut": good[:-5], "flip": flipped}.get(damage, damage))
    assert audio_identity(paths, cache) == {"a": sha256("one")}
    assert read == ["a", "a"]
    assert cache.read_text() == good


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    paths = written(tmp_path, a="one", file="")
    assert audio_identity(paths, tmp_path / "file" / "cache")["a"] == sha256("one")


def test_an_offset_in_an_archive_counts(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "x.ark").write_text("archive")
    paths = {"a": f"{tmp_path}/x.ark:3", "b": f"{tmp_path}/x.ark:9"}
    found = audio_identity(paths, tmp_path / "cache")
    assert found["a"] == sha256(f"{sha256('archive')}:3") != found["b"]
    assert read == ["x.ark"]


def test_all_missing_files_are_named(tmp_path: Path) -> None:
    paths = {**written(tmp_path, a="one"), "b": tmp_path / "gone", "c": tmp_path}
    with pytest.raises(UserError) as error:
        audio_identity(paths, tmp_path / "cache")
    assert len(error.value.problems) == 2
    assert f"utterance b: {tmp_path}/gone: cannot be read (No such file" in str(error.value)


def test_many_files_links_and_linked_folders_are_known_by_their_real_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    names = [f"{number:04d}" for number in range(300)]
    for name in names:
        (tmp_path / "real" / name).write_text(name)
    (tmp_path / "link").symlink_to("real/0007")
    files = [*(tmp_path / "folder" / name for name in names), tmp_path / "link"]
    expected = [hashlib.sha256(name.encode()).hexdigest() for name in [*names, "0007"]]
    cache = tmp_path / "cache"
    for _ in range(2):
        found = content_identity(files, cache, quiet=True)
        assert [found[str(file)] for file in files] == expected
