"""Common Voice's own layout, MP3 included: what is read, what is refused, what limits leave out."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest
import soundfile

from distill_asr import cli
from distill_asr.corpora import commonvoice
from distill_asr.corpora.commonvoice import DurationLimits, build, find
from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.testing.commonvoice import SECONDS, SENTENCES, write_clip, write_language


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("common voice")  # a path with a space
    write_language(root / "cv-corpus-21.0-2025-03-14" / "ta")
    return root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return write_language(tmp_path / "cv" / "ta")


def test_the_official_splits(corpus: Path, tmp_path: Path) -> None:
    made = build(tmp_path / "data", corpus, "ta").sets
    speakers = {}
    for name in commonvoice.SETS:
        data = DataDir.read(tmp_path / "data" / name)
        assert sorted(data.text.values()) == sorted(SENTENCES), "as people wrote them"
        assert all(key.startswith(f"{speaker}-") for key, speaker in data.utt2spk.items())
        assert all(path.endswith(".mp3") for path in data.wav.values())
        speakers[name] = set(data.utt2spk.values())
        assert made[name].utterances == 3 and made[name].speakers == 2
        assert made[name].minutes == pytest.approx(3.0 / 60, abs=6e-3)
    assert not speakers["train"] & speakers["test"]


def test_newer_columns(tmp_path: Path) -> None:
    build(tmp_path / "data", write_language(tmp_path / "ta", newer=True), "ta")
    data = DataDir.read(tmp_path / "data" / "dev")
    assert sorted(data.text.values()) == sorted(SENTENCES)


def test_prepare_reads_the_mp3(corpus: Path, tmp_path: Path) -> None:
    build(tmp_path / "data", corpus, "ta")
    argv = ["prepare", str(tmp_path / "data/test"), str(tmp_path / "dump/test"), "--nj", "1"]
    assert cli.main([*argv, "--normalise", "unicode", "--language", "ta"]) == 0
    data = DataDir.read(tmp_path / "dump/test")
    assert sorted(data.text.values()) == sorted(["வணக்கம் உலகம்", "நன்றி", "மழை வருகிறது"])
    original = (tmp_path / "dump/test/text_original").read_text(encoding="utf-8")
    assert all(sentence in original for sentence in SENTENCES)
    for key, path in data.wav.items():
        info = soundfile.info(path)
        assert (info.samplerate, info.format) == (16000, "WAV")
        assert info.frames == data.num_samples[key]
    found = sorted(count / 16000 for count in data.num_samples.values())
    assert found == pytest.approx(SECONDS, abs=0.15)  # MP3 knows its length to some frames


def test_limits_say_what_they_drop_and_spare_the_test_set(corpus: Path, tmp_path: Path) -> None:
    made = build(tmp_path / "data", corpus, "ta", DurationLimits(1.2, 6))
    assert [made.sets[name].utterances for name in commonvoice.SETS] == [1, 3, 3]
    assert "2 of 3 (66.7%): " in made.table()
    assert "1 over 1.2 s" in made.table() and "1 over 6 characters" in made.table()
    made = build(tmp_path / "data", corpus, "ta", DurationLimits(1.2, sets=("train", "test")))
    assert [made.sets[name].utterances for name in commonvoice.SETS] == [2, 3, 2]


def test_a_second_run_changes_nothing_and_new_rows_are_noticed(own: Path, tmp_path: Path) -> None:
    first = build(tmp_path / "data", own, "ta")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert build(tmp_path / "data", own, "ta") == first
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    lines = (own / "dev.tsv").read_text(encoding="utf-8").splitlines()
    (own / "dev.tsv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert build(tmp_path / "data", own, "ta").sets["dev"].utterances == 2
    assert len(DataDir.read(tmp_path / "data/dev")) == 2


def test_bad_rows_of_all_splits_in_one_report(own: Path, tmp_path: Path) -> None:
    rows = {
        "train": "c\tgone.mp3\tஒன்று\t2",
        "dev": "c\tcommon_voice_ta_0.mp3\tஒன்று\t2\ncut off",
        "test": "c\textra.mp3\t  \t2\nc\t../../etc/passwd.mp3\tஒன்று\t2",
    }
    write_clip(own / "clips" / "extra.mp3", 0.2, 0)
    for split, more in rows.items():
        with open(own / f"{split}.tsv", "a", encoding="utf-8") as stream:
            stream.write(more + "\n")
    with pytest.raises(UserError) as caught:
        build(tmp_path / "data", own, "ta")
    report = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for expected in (
        "missing clip: ", "train.tsv:5", "duplicate clip", "dev.tsv:5", "short row",
        "dev.tsv:6: expected client_id, path, sentence; get the file again",
        "empty sentence", "test.tsv:5", "passwd",
    ):  # fmt: skip
        assert expected in report
    assert not (tmp_path / "data").exists()


def test_clips_that_are_no_audio(own: Path, tmp_path: Path) -> None:
    (own / "clips" / "common_voice_ta_0.mp3").write_bytes(b"")
    (own / "clips" / "common_voice_ta_20.mp3").write_bytes(b"no audio")
    with pytest.raises(UserError) as caught:
        build(tmp_path / "data", own, "ta")
    assert len(caught.value.problems) == 2
    assert all("unpack the corpus again" in problem for problem in caught.value.problems)


def test_files_that_are_not_those_of_the_corpus(own: Path, tmp_path: Path) -> None:
    (own / "test.tsv").unlink()
    (own / "dev.tsv").write_text("id\tsentence\n")
    (own / "train.tsv").write_bytes(b"client_id\tpath\tsentence\n\xff\t\t\n")
    with pytest.raises(UserError) as caught:
        build(tmp_path / "data", own, "ta")
    report = "\n".join(caught.value.problems)
    for expected in (
        "missing column: ", "dev.tsv: no column client_id, path; found ['id', 'sentence']",
        "test.tsv: no such file", "train.tsv: 'utf-8'", "dev.tsv: no usable row",
    ):  # fmt: skip
        assert expected in report


def test_clips_that_are_not_there(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "clips")
    with pytest.raises(
        UserError, match=r"missing clips: .*clips: no \*\.mp3 there; unpack it again"
    ):
        build(tmp_path / "data", own, "ta")


def test_wrong_options_are_reported_together(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(tmp_path, corpus, "../ta", DurationLimits(0, -1, ("trian",)))
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("place", ["language", "corpus", "above"])
def test_every_level_of_an_unpacked_corpus(place: str, corpus: Path, tmp_path: Path) -> None:
    (version,) = corpus.iterdir()
    given = {"language": version / "ta", "corpus": version, "above": corpus}[place]
    assert find(given, "ta", tmp_path) == version / "ta"


def test_nothing_there_or_too_much(corpus: Path, tmp_path: Path) -> None:
    for given, said in (
        (None, "Common Voice is needed: get it"),
        ("", "Common Voice is needed: get it"),
        (tmp_path / "none", r"none: no such folder or archive \(\.tar\.gz\); get it"),
    ):
        with pytest.raises(UserError, match=f"{said}.*COMMONVOICE=DIR"):
            find(given, "ta", tmp_path)
    neither = (
        r"found neither ka/train\.tsv, nor cv-corpus-\*/ka/train\.tsv, nor \*-ka\.tar\.gz there"
    )
    with pytest.raises(UserError, match=neither):
        find(corpus, "ka", tmp_path)
    for version in ("cv-corpus-1", "cv-corpus-2"):
        (tmp_path / version / "ta").mkdir(parents=True)
        (tmp_path / version / "ta" / "train.tsv").touch()
    with pytest.raises(UserError, match="more than one place has ta"):
        find(tmp_path, "ta", tmp_path)


def pack(corpus: Path, archive: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    (version,) = corpus.iterdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(version, version.name)
    return archive


def test_an_archive_is_unpacked_once(corpus: Path, tmp_path: Path) -> None:
    archive = pack(corpus, tmp_path / "in" / "cv-corpus-21.0-2025-03-14-ta.tar.gz")
    folder = find(tmp_path / "in", "ta", tmp_path / "downloads")
    assert folder.parents[2] == tmp_path / "downloads" and (folder / "train.tsv").is_file()
    stamp = folder.stat().st_ctime_ns
    assert find(archive, "ta", tmp_path / "downloads") == folder
    assert folder.stat().st_ctime_ns == stamp
    with pytest.raises(UserError, match="of another language"):
        find(archive, "ka", tmp_path / "downloads")


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "hard link", "device", "fifo"])
def test_no_member_leaves_its_folder(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / "x-ta.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(
            {"above": "../../out", "absolute": str(tmp_path / "out")}.get(kind, "cv/out")
        )
        types = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
        types["fifo"] = tarfile.FIFOTYPE
        if kind in types:
            member.type, member.linkname = types[kind], "../../../out"
        else:
            member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"cannot be unpacked.* leaves the folder"):
        find(archive, "ta", tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())
    assert not (tmp_path / "out").exists() and not (tmp_path.parent / "out").exists()


def test_a_cut_off_archive_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    archive = pack(corpus, tmp_path / "ta.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-4000])
    with pytest.raises(UserError, match=r"cannot be unpacked.*get it again"):
        find(tmp_path, "ta", tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())


def test_a_tab_inside_a_sentence_is_named_with_its_line(own: Path, tmp_path: Path) -> None:
    path = own / "train.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:2], lines[2] + "\tmore", *lines[3:]]), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        build(tmp_path / "data", own, "ta")
    (problem,) = [one for one in caught.value.problems if "long row" in one]
    assert f"{path}:3" in problem and "a tab inside a sentence makes two of it" in problem
    assert "two of it: put a space there, or get the file again" in problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_manifest_is_written_again(own: Path, tmp_path: Path, content: bytes) -> None:
    build(tmp_path / "data", own, "ta")
    path = tmp_path / "data/train/manifest.json"
    whole = path.read_bytes()
    path.write_bytes(content)
    build(tmp_path / "data", own, "ta")
    assert path.read_bytes() == whole
