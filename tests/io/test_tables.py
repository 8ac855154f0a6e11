"""Kaldi's tables: what is accepted comes back as it was written, the rest is named."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.errors import UserError
from distill_asr.io.tables import read_table, read_utf8


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a x\rb y\r", r"control character.*:1: U\+000D \(carriage return\) at position 4"),
        ("a x\nb y\rz\n", r":2: U\+000D"),
        ("a x\0y\n", r":1: U\+0000 \(nul\)"),
        ("a\u00a0x\n", r"bad id.*:1: U\+00A0 \(no-break space\) in the id"),
        ("a\u3000 x\n", r"U\+3000 \(ideographic space\)"),
        ("a\u200bb x\n", r"U\+200B \(zero width space\)"),
        ("\ufeffa x\n", "byte order mark.*:1"),
        (b"a x\na \xff\n", "not UTF-8.*:2: byte 0xff at position 3"),
        ("a x\na y\n", "duplicate id.*:2: a occurs before"),
        ("\n \n", "empty file.*no entries"),
        (b"\x1f\x8b\x08\0", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    with pytest.raises(UserError, match=f"(?s){expected}"):
        read_table(write(tmp_path / "text", content))


def test_a_directory_and_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unreadable file.*directory"):
        read_table(tmp_path)
    with pytest.raises(UserError, match=r"no such file.*UTTERANCE SPEAKER"):
        read_table(tmp_path / "utt2spk")


def test_line_ends_of_windows_and_odd_separators_are_fine(tmp_path: Path) -> None:
    content = "b  x\ty \r\n\r\na\tz\u2028w\x85\r\nc\r\n"
    assert read_table(write(tmp_path / "t", content)) == {"a": "z\u2028w\x85", "b": "x\ty", "c": ""}


keys = st.text(st.characters(blacklist_categories=["Cc", "Cf", "Cs", "Zs", "Zl", "Zp"]), min_size=1)
values = st.lists(keys, max_size=4).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(keys, values, min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, table: dict) -> None:
    path = tmp_path_factory.mktemp("t") / "table"
    write(path, "".join(f"{key} {value}\n" for key, value in table.items()))
    assert read_table(path) == table


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_give_a_table_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "table", content)
    try:
        table = read_table(path)
    except UserError:
        return
    write(path, "".join(f"{key} {value}\n" for key, value in table.items()))
    assert read_table(path) == table


def test_a_text_that_is_no_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\u2028two\r\n")
    assert read_utf8(path) == "one\u2028two\r\n"
    with pytest.raises(UserError, match=r"a\.txt:2: not UTF-8 \(byte 0xfc\); convert it \(`iconv"):
        read_utf8(write(path, b"one\ngr\xfcn\n"))
    with pytest.raises(UserError, match=r"b\.txt: No such file or directory; write it"):
        read_utf8(tmp_path / "b.txt", "write it")
    with pytest.raises(UserError, match="Is a directory; correct the path"):
        read_utf8(tmp_path)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(keys, values), min_size=1, unique_by=lambda row: row[0]))
def test_plain_tables_are_read_as_all_others(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """A tab among the blanks has each line looked at character by character."""
    path = tmp_path_factory.mktemp("t") / "table"
    spaces = "".join(f"  {key}   {value} \n\n" for key, value in rows)
    tabs = "".join(f"\t{key}\t {value}\t\n" for key, value in rows)
    assert read_table(write(path, spaces)) == read_table(write(path, tabs))
