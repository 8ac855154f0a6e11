"""Records vouch for themselves and for files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.io.records import (
    CHECKSUM,
    DamagedRecordError,
    altered,
    read_record,
    vouched,
    write_record,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CONTENT = st.dictionaries(st.text().filter(lambda key: key != CHECKSUM), PLAIN, max_size=4)


@given(content=CONTENT)
def test_what_is_written_is_read(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("records") / "record.json"
    write_record(path, content)
    assert read_record(path) == json.loads(json.dumps(content))


def test_any_flipped_bit_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = {"tag": True, "seconds": 1.25, "files": {"text": "ab" * 32}, "words": "grüße"}
    write_record(path, content)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                found = read_record(path)
            except DamagedRecordError:
                continue
            # white space, or the name of the checksum, which a record of an old version lacks
            assert found == content or {k: v for k, v in found.items() if k in content} == content


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": 1, "sha256": "00"}'])
def test_a_damaged_record(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(DamagedRecordError, match=r"record\.json"):
        read_record(path)
    (problem,) = altered(path, {}, "make it again")
    assert str(path) in problem and problem.endswith("make it again")


def test_files_are_held_against_the_record(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("one", "two", "three")}
    for name, path in files.items():
        path.write_text(name)
    record = tmp_path / "record.json"
    assert altered(record, files, "") == []  # nothing vouches for them
    write_record(record, {"files": vouched({name: files[name] for name in ("one", "two")})})
    assert altered(record, files, "") == []
    files["one"].write_text("onf")
    files["two"].unlink()
    files["three"].write_text("other")  # the record does not name it
    changed, missing = altered(record, files, "make it again")
    assert changed.startswith(f"{files['one']}: changed or damaged since it was written")
    assert "expected 7692c3ad3540... (" in changed and changed.endswith("; make it again")
    assert missing.startswith(f"{files['two']}: No such file") and str(record) in missing


def test_a_record_of_an_old_version_vouches_for_nothing(tmp_path: Path) -> None:
    record, file = tmp_path / "record.json", tmp_path / "file"
    record.write_text('{"settings": {}}')
    file.write_text("x")
    assert read_record(record) == {"settings": {}}
    assert altered(record, {"file": file}, "") == []
