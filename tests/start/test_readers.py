"""Every kind of source gives the same utterances."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.errors import Problems, UserError
from distill_asr.start.contract import Columns, ReadOptions, Source
from distill_asr.start.readers.rows import read_rows
from distill_asr.start.registry import READERS, find_reader, reader_for
from distill_asr.testing.sources import Recordings


def read(path: Path, problems: Problems | None = None, **options: object) -> Source:
    found = problems if problems is not None else Problems()
    source = reader_for(path, None).read(path, ReadOptions(**options), found)
    if problems is None:
        assert found.messages() == []
    return source


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Recordings(tmp_path / "corpus")


def facts(source: Source) -> list[tuple]:
    return sorted((clip.text, clip.speaker) for clip in source.clips)


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "kaldi", "lhotse", "arrow", "parquet"])
def test_every_kind_gives_texts_and_speakers(recordings: Recordings, kind: str) -> None:
    root = recordings.folder.parent
    if kind in ("arrow", "parquet"):
        pytest.importorskip("pyarrow")
    path = {
        "csv": lambda: recordings.table().parent,
        "tsv": lambda: recordings.table("all.tsv", delimiter="\t").parent,
        "json": lambda: recordings.json_lines().parent,
        "kaldi": lambda: recordings.kaldi(root / "kaldi"),
        "lhotse": lambda: recordings.lhotse(root / "cuts.jsonl.gz"),
        "arrow": lambda: recordings.hugging_face(root / "saved"),
        "parquet": lambda: recordings.hugging_face(root / "parquet", parquet=True),
    }[kind]()
    source = read(path, embedded=root / "audio", embedded_name=str(root / "audio"))
    expected = sorted((row["sentence"], row["speaker"]) for row in recordings.rows)
    if kind == "kaldi":
        expected = [(f"{text} 0", speaker) for text, speaker in expected]
    found = facts(source)
    if kind == "parquet":  # speakers are numbers there
        found = [(text, f"s{speaker}") for text, speaker in found]
    assert found == sorted(expected)
    assert all(Path(clip.audio.location).is_file() for clip in source.clips)
    assert len({clip.name for clip in source.clips}) == len(source.clips)


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ";"},
        {"delimiter": "|"},
        {"delimiter": "\t", "quoting": csv.QUOTE_ALL},
        {"lineterminator": "\r\n", "encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
    ],
)
def test_tables_as_programs_save_them(recordings: Recordings, options: dict) -> None:
    recordings.rows[0]["sentence"] = 'He said: "one, two"; and\nthree | four'
    recordings.table(**options)
    texts = {clip.text for clip in read(recordings.folder).clips}
    assert texts == {row["sentence"] for row in recordings.rows}


def test_a_table_without_header_is_read_by_content(recordings: Recordings) -> None:
    lines = [f"{Path(row['path']).stem}|{row['sentence']}" for row in recordings.rows]
    (recordings.folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    source = read(recordings.folder)
    assert sorted(clip.text for clip in source.clips) == sorted(
        row["sentence"] for row in recordings.rows
    )
    assert "no header" in source.notes[0]


def test_names_of_columns_can_be_given(recordings: Recordings) -> None:
    for row in recordings.rows:
        row["sentence_2"] = "another"
    recordings.table()
    source = read(recordings.folder, columns=Columns(text="sentence_2"))
    assert {clip.text for clip in source.clips} == {"another"}
    problems = Problems()
    read(recordings.folder, problems, columns=Columns(text="sentense_2"))
    assert "did you mean 'sentence_2'" in problems.messages()[0]


def test_parts_of_recordings_have_names_of_their_own(recordings: Recordings) -> None:
    rows = [row | {"start": s, "end": s + 0.1} for row in recordings.rows for s in (0.0, 0.1)]
    recordings.rows = rows
    recordings.table()
    source = read(recordings.folder)
    assert len({clip.name for clip in source.clips}) == len(rows)
    assert {clip.audio.start for clip in source.clips} == {0.0, 0.1}


def test_untold_audio_is_named(recordings: Recordings) -> None:
    gone = recordings.rows.pop()
    recordings.table()
    assert [path.name for path in read(recordings.folder).untold] == [Path(gone["path"]).name]


def test_all_problems_of_a_table_at_once(recordings: Recordings) -> None:
    recordings.rows[0]["path"] = "nowhere.wav"
    recordings.rows[1]["sentence"] = ""
    path = recordings.table()
    path.write_text(path.read_text() + "too,few\n")
    (recordings.folder / "talk.m4a").write_bytes(b"x")
    problems = Problems()
    read(recordings.folder, problems)
    kinds = {message.partition(":")[0] for message in problems.messages()}
    assert kinds == {"text without audio", "no text", "bad row", "foreign format"}
    assert "the cell 'sentence' is empty; fill it, or give --skip-bad" in str(problems.messages())


@pytest.mark.parametrize("parquet", [False, True])
def test_an_empty_text_of_a_hugging_face_data_set(
    recordings: Recordings, parquet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)  # audio of the data set is written there
    recordings.rows[1]["sentence"] = " "
    folder = recordings.hugging_face(recordings.folder.parent / "saved", parquet)
    problems = Problems()
    assert len(read(folder, problems).clips) == len(recordings.rows) - 1
    (message,) = problems.messages()
    assert "the cell 'text' is empty; fill it, or give --skip-bad" in message


def test_what_is_no_text_is_said_with_its_place(recordings: Recordings) -> None:
    path = recordings.folder / "metadata.csv"
    path.write_bytes("path,text\nwavs/s0_0.wav,caf\xe9\n".encode("latin-1"))
    problems = Problems()
    read(recordings.folder, problems)
    assert f"{path}:2: byte 0xe9" in problems.messages()[0]


def arrow(recordings: Recordings, **files: str) -> Path:
    """A data set of ``save_to_disk`` with these files replaced."""
    pytest.importorskip("pyarrow")
    folder = recordings.hugging_face(recordings.folder.parent / "saved")
    for name, content in files.items():
        next(folder.glob(f"{name}*")).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "columns", "said"),
    [
        ({"state": '{"_indices_files": [{"filename": "i.arrow"}]}'}, {},
         "selected rows: {}: holds a selection by indices; save it flat"),
        ({"state": "{"}, {}, "damaged data set: {}/state.json: Expecting"),
        ({"state": "{}"}, {}, "{}: state.json or dataset_info.json: no '_data_files'; save the"),
        ({"state": '{"_data_files": [{}]}'}, {}, "no 'filename'; save the data set again"),
        ({"dataset_info": '{"features": [1]}'}, {}, "state.json or dataset_info.json: "),
        ({"dataset_info": "{"}, {}, "; save the data set again"),
        ({"dataset_info": "[]"}, {}, "dataset_info.json: expected an object; save the data set"),
        ({"data-": "no arrow"}, {}, "data-00000-of-00001.arrow: after row 0: "),
        ({}, {"text": "texd"},
         "no such column: {}/data-00000-of-00001.arrow: --text-column 'texd'"),
    ],
)  # fmt: skip
def test_a_hugging_face_data_set_that_is_not_whole(
    recordings: Recordings, files: dict[str, str], columns: dict[str, str], said: str
) -> None:
    folder = arrow(recordings, **files)
    problems = Problems()
    read(folder, problems, columns=Columns(**columns), embedded=folder / "audio")
    assert said.format(folder) in "\n".join(problems.messages())


def test_a_parquet_file_without_audio(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.table({"text": ["one"], "number": [1]}), path)
    problems = Problems()
    read(path, problems, embedded=tmp_path)
    expected = f"{path}: no audio column among text, number; --audio-column"
    assert problems.messages() == [f"missing column: {expected}"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", "path,text\na.wav,o\0ne\n", ":2: it has a NUL character, so it is not text"),
        ("m.csv", " \n", "m.csv: no rows"),
        ("m.jsonl", '{"path": "a.wav"}\n{"path"\n', "m.jsonl:2: is not JSON: Expecting"),
        ("m.jsonl", '[{"path": "a.wav"}', "m.jsonl: is not JSON: Expecting"),
        ("m.jsonl", '{"path": "a.wav"}\n3\n', "m.jsonl:2: expected an object"),
        ("m.csv", "text,text\na.wav,b\n", "m.csv:1: two columns have the same name"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    problems = Problems()
    read_rows(tmp_path / name, None, frozenset({"path", "text"}), lambda cell: False, problems)
    assert said in "\n".join(problems.messages())


def test_cuts_that_were_cut_short(recordings: Recordings) -> None:
    path = recordings.lhotse(recordings.folder.parent / "cuts.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        first, second, *_ = stream
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(first + second[:40])
    problems = Problems()
    read(path, problems)
    (problem,) = problems.messages()
    assert problem.startswith(f"unreadable manifest: {path}: after line 2: ")


def test_supervisions_without_a_recording(tmp_path: Path) -> None:
    rows = ['{"id": "a", "recording_id": "r", "text": "one"}', '{"id": "b", "text": "two"}']
    path = tmp_path / "supervisions.jsonl"
    path.write_text("\n".join(rows))
    problems = Problems()
    read(tmp_path, problems)
    found = "\n".join(problems.messages())
    assert f"{path}:1: a: recording r is missing" in found
    assert f"{path}:2: no 'recording_id'; expected a row as lhotse saves it" in found


def test_espnet_dump_leaves_originals_and_speed_copies_out(recordings: Recordings) -> None:
    raw = recordings.folder.parent / "raw"
    for name in ("train", "train_sp", "dev", "org"):
        recordings.kaldi(raw / name)
    source = read(raw)
    assert {clip.split for clip in source.clips} == {"train", "dev"}
    assert "train_sp" in source.notes[0]


def test_a_kaldi_directory_whose_tables_differ(recordings: Recordings) -> None:
    folder = recordings.kaldi(recordings.folder.parent / "kaldi")
    text = (folder / "text").read_text().splitlines()
    (folder / "text").write_text("\n".join([*text[1:], "ghost hello"]) + "\n")
    problems = Problems()
    read(folder, problems)
    kinds = [message.partition(":")[0] for message in problems.messages()]
    assert kinds == ["text without audio", "audio without text"]


def test_nothing_and_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder is empty"):
        reader_for(tmp_path, None)
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(UserError, match="holds nothing that can be read"):
        reader_for(tmp_path, None)
    with pytest.raises(UserError, match="no such file or folder"):
        reader_for(tmp_path / "gone", None)
    with pytest.raises(UserError, match="did you mean 'kaldi'"):
        reader_for(tmp_path, "kaldy")


def test_every_reader_is_there() -> None:
    assert all(find_reader(name).name == name for name in READERS)


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)


@given(st.lists(CELLS.filter(lambda cell: cell.strip() == cell), min_size=3, max_size=3))
def test_any_text_in_a_table_comes_back(tmp_path_factory: pytest.TempPathFactory, texts) -> None:
    folder = tmp_path_factory.mktemp("table")
    for number in range(3):
        (folder / f"{number}.wav").touch()
    with open(folder / "m.csv", "w", encoding="utf-8", newline="") as stream:
        rows = [[f"{number}.wav", text] for number, text in enumerate(texts)]
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["file", "text"], *rows])
    assert [clip.text for clip in read(folder).clips] == texts


def test_a_header_in_any_language(recordings: Recordings) -> None:
    rows = [f"{row['path']};{row['sentence']};{row['speaker']}" for row in recordings.rows]
    (recordings.folder / "Liste.csv").write_text(
        "\n".join(["Datei;Abschrift;Sprecher", *rows]), encoding="utf-8-sig"
    )
    columns = Columns(speaker="Sprecher")
    source = read(recordings.folder, columns=columns)
    expected = sorted((row["sentence"], row["speaker"]) for row in recordings.rows)
    assert facts(source) == expected
    assert "not used: 'Sprecher'" in read(recordings.folder).notes[0]
