"""LibriSpeech's own layout, on a little tree of it."""

from pathlib import Path

import pytest

from distill_asr.corpora import librispeech
from distill_asr.data.datadir import DataDir, validate
from distill_asr.data.prepare import prepare
from distill_asr.errors import UserError
from distill_asr.testing.corpora import write_librispeech


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_librispeech(tmp_path / "a corpus")


def problems_of(*arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        librispeech.build(*arguments, **options)
    return "\n".join(caught.value.problems)


def chapter(corpus: Path, part: str = "train-clean-100") -> Path:
    return min((corpus / part).glob("*/*"))


def transcripts(corpus: Path, part: str = "train-clean-100") -> Path:
    return next(chapter(corpus, part).glob("*.trans.txt"))


def test_every_set_is_valid(corpus: Path, tmp_path: Path) -> None:
    made = librispeech.build(tmp_path / "data", corpus).sets
    assert list(made) == ["train", "unlab", "dev", "test_clean", "test_other"]
    counts = {name: len(validate(tmp_path / "data" / name, 16000)[0]) for name in made}
    assert counts == {"train": 4, "unlab": 8, "dev": 8, "test_clean": 4, "test_other": 4}
    for name, one in made.items():
        data = DataDir.read(tmp_path / "data" / name)
        assert one.utterances == len(data) and one.speakers == len(set(data.utt2spk.values()))
        assert (data.text is None) == (name == "unlab") and one.labelled == (name != "unlab")
        for key, path in data.wav.items():
            assert Path(path).name == f"{key}.flac" and key.startswith(f"{data.utt2spk[key]}-")


def test_text_is_the_transcript_in_lower_case(corpus: Path, tmp_path: Path) -> None:
    librispeech.build(tmp_path / "data", corpus)
    made = DataDir.read(tmp_path / "data" / "train")
    lines = transcripts(corpus).read_text().splitlines()
    expected = dict(line.split(" ", 1) for line in lines)
    assert expected and all(words.isupper() for words in expected.values())
    for key, words in expected.items():
        assert made.text[key] == words.lower()


def test_the_folder_around_the_corpus_will_do(corpus: Path, tmp_path: Path) -> None:
    for name in librispeech.build(tmp_path / "one", corpus).sets:
        librispeech.build(tmp_path / "other", corpus.parent, [name])
        one, other = (DataDir.read(tmp_path / out / name) for out in ("one", "other"))
        assert one.wav == other.wav


def test_flac_is_prepared_where_it_lies(corpus: Path, tmp_path: Path) -> None:
    librispeech.build(tmp_path / "data", corpus)
    made = DataDir.read(tmp_path / "data" / "train")
    record = prepare(tmp_path / "data" / "train", tmp_path / "dump")
    prepared = DataDir.read(tmp_path / "dump")
    assert record["converted"] == 0 and prepared.wav == made.wav
    _, facts = validate(tmp_path / "dump", sampling_rate=16000)
    assert {one.format for one in facts.values()} == {"FLAC"}
    assert prepared.num_samples == {key: one.frames for key, one in facts.items()}


def test_what_prepare_wrote_is_not_replaced(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "prepare.json").write_text("{}")
    said = problems_of(tmp_path, corpus)
    assert "other content: " in said
    assert "dev: holds a prepared data directory (prepare.json); give another directory" in said
    assert not (tmp_path / "train").exists()


def test_a_cut_off_flac_is_found_by_prepare(corpus: Path, tmp_path: Path) -> None:
    librispeech.build(tmp_path / "data", corpus)
    path = min(chapter(corpus).glob("*.flac"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=path.name):
        prepare(tmp_path / "data" / "train", tmp_path / "dump")


def test_files_that_macos_puts_beside_others_are_none(corpus: Path, tmp_path: Path) -> None:
    made = librispeech.build(tmp_path / "one", corpus).sets
    for path in [path for path in corpus.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert librispeech.build(tmp_path / "other", corpus).sets == made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "LibriSpeech is needed: get it from"),
        ("", "LibriSpeech is needed: get it from"),
        ("nowhere", "nowhere is not a directory; expected LibriSpeech: get it"),
        ("empty", "empty holds none of its parts (train-clean-100 ...); expected LibriSpeech"),
    ],
)
def test_no_corpus(given: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = problems_of(tmp_path / "data", tmp_path / given if given else given)
    assert said in report
    assert "openslr.org/12" in report and "LIBRISPEECH=DIR" in report


def test_missing_parts_are_reported_together(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path, ["train-clean-100", "dev-clean"])
    report = problems_of(tmp_path / "data", corpus)
    for part in ("train-clean-360, train-other-500", "dev-other", "test-clean", "test-other"):
        assert f"no {part}, needed for the set" in report
    assert "--partial" in report and "openslr.org/12" in report
    assert not (tmp_path / "data").exists()


def test_whichever_parts_are_there(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path, ["train-clean-100", "train-other-500", "dev-clean"])
    made = librispeech.build(tmp_path / "data", corpus, partial=True)
    counts = {name: one.utterances for name, one in made.sets.items()}
    assert counts == {"train": 4, "unlab": 4, "dev": 4}
    assert made.table().splitlines()[2].split() == ["unlab", "4", "2", "no"]


def test_training_and_development_are_never_left_out(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path, ["train-clean-360"])
    report = problems_of(tmp_path / "data", corpus, partial=True)
    assert "needed for the set train" in report and "needed for the set dev" in report
    assert "needed for the set test" not in report


def test_chosen_sets_need_only_their_parts(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path, ["train-clean-100", "test-clean"])
    made = librispeech.build(tmp_path / "data", corpus, sets=["train", "test_clean"])
    assert list(made.sets) == ["train", "test_clean"]
    report = problems_of(tmp_path / "data", corpus, sets=["trian", "test"])
    assert "did you mean 'train'?" in report and "'test'" in report


def test_broken_transcripts_come_in_one_report(corpus: Path, tmp_path: Path) -> None:
    first = transcripts(corpus)
    lines = first.read_text().splitlines()
    first.write_text("\n".join([lines[0], lines[0], "999-1-0000 STRAY", "100-5000-0009"]) + "\n")
    min(chapter(corpus, "dev-clean").glob("*.flac")).unlink()
    transcripts(corpus, "dev-other").unlink()
    latin = transcripts(corpus, "test-clean")
    latin.write_bytes(latin.read_bytes().replace(b" ", b" \xe9", 1))
    report = problems_of(tmp_path / "data", corpus)
    for expected in (
        f"duplicate id: {first}:2: 100-5000-0000 occurs before",
        f"bad line: {first}:3: '999-1-0000': expected an id like 100-5000-0000; get the file",
        f"empty transcript: {first}:4: 100-5000-0009",
        f"missing audio: {chapter(corpus) / '100-5000-0009.flac'}: no such file, but "
        f"{first.name} has its line; get it again",
        f"missing transcript: {first}: no line for 100-5000-0001.flac; get the file again",
        "missing audio: " + str(chapter(corpus, "dev-clean")),
        "missing file: " + str(chapter(corpus, "dev-other")),
        f"not UTF-8: {latin}:1",
    ):
        assert expected in report
    assert len(report.splitlines()) == 8
    assert not (tmp_path / "data").exists()


def test_a_chapter_that_is_in_two_parts(corpus: Path, tmp_path: Path) -> None:
    speaker = chapter(corpus).parent
    (corpus / "dev-clean" / speaker.name).symlink_to(speaker)
    report = problems_of(tmp_path / "data", corpus)
    assert "wrong part" in report and "has this speaker in train-clean-100" in report
    assert "duplicate id: 100-5000-0000" in report


def test_the_list_of_speakers_is_needed(corpus: Path, tmp_path: Path) -> None:
    (corpus / "SPEAKERS.TXT").unlink()
    for path in (corpus / "dev-clean").glob("*"):
        path.rename(tmp_path / path.name)
    report = problems_of(tmp_path / "data", corpus)
    assert "SPEAKERS.TXT: No such file or directory; every part comes with it" in report
    assert "no <speaker>/<chapter> folders" in report
