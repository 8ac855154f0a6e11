"""A command writes into a new directory or one of its own."""

from pathlib import Path

import pytest

from distill_asr.io.occupied import DATA, DECODING, EXPERIMENT, LABELS, PREPARED, occupied


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["wav.scp", "text"], DATA),
        (["text"], DATA),
        (["wav.scp", "text", "prepare.json"], PREPARED),
        (["wav.scp", "wav/.converted"], PREPARED),
        (["wav.scp", "prepare.json", "pseudo_label.json"], LABELS),
        (["text", "nbest.jsonl"], DECODING),  # killed before its record
        (["text", "decode.json"], DECODING),
        (["config.yaml", "train.yaml", "decode.json"], EXPERIMENT),
    ],
)
def test_what_lies_there(tmp_path: Path, files: list[str], kind: str) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    link.symlink_to(place, target_is_directory=True)
    assert occupied(place, kind, "--output") == occupied(link, "anything", "--output") == []
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    for directory in (place, link):
        assert occupied(directory, kind, "--output") == []
        (found,) = occupied(directory, "anything else", "--output")
        assert found.startswith(f"--output {directory}: holds {kind} (")
        assert found.endswith("); give another directory")


def test_a_file_and_a_directory_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    assert occupied(tmp_path, DATA, "DST") == []
    (found,) = occupied(tmp_path / "notes", DATA, "DST")
    assert found == f"DST {tmp_path / 'notes'}: is a file; give a directory, or a new name"
