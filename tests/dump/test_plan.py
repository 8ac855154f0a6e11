"""Which shards there are, and samples of a source."""

from pathlib import Path

import pytest

from distill_asr.data.datadir import DataDir
from distill_asr.dump.loaded import TeacherTraits
from distill_asr.dump.plan import DumpJob, SetDump, sample
from distill_asr.dump.source import AudioSource, TextSource
from distill_asr.teachers import TeacherConfig
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.targets import target_settings

FACTS = TeacherTraits("text", None, 0, None, "f" * 64)


def text_dir(path: Path, sentences: list[str]) -> DataDir:
    ids = [f"u{i:03d}" for i in range(len(sentences))]
    write_data_dir(path, dict.fromkeys(ids, 400))
    lines = [f"{u} {s}\n" for u, s in zip(ids, sentences, strict=True)]
    (path / "text").write_text("".join(lines))
    return DataDir.read(path)


def test_equal_sentences_lie_in_one_shard_and_count_once(tmp_path: Path) -> None:
    data_dir = text_dir(tmp_path, ["yes", "a", "b", "yes", "c", "yes", "a", "d"])
    source = TextSource(data_dir)
    config = TeacherConfig("t.yaml", "text", "m", (1,))
    job = DumpJob(tmp_path / "targets/t", config, FACTS, target_settings(), source, data_dir)
    tasks = list(SetDump(job, 2).tasks())
    assert [task.source.ids for task in tasks] == [
        ["u000", "u001", "u003", "u005", "u006"],
        ["u002", "u004"],
        ["u007"],
    ]
    assert [task.amount for task in tasks] == [5, 2, 1]
    assert all(task.directory.is_absolute() for task in tasks)


@pytest.mark.parametrize("seconds, expected", [(30.0, 8), (2.0, 2), (0.1, 1)])
def test_sample_of_audio(tmp_path: Path, seconds: float, expected: int) -> None:
    data = write_data_dir(tmp_path, {f"u{i:02d}": 16000 for i in range(50)})
    few = sample(AudioSource(DataDir.read(data)), 8, seconds)
    assert len(few.ids) == expected
    if expected == 8:
        assert few.ids[0] < "u10" and few.ids[-1] > "u40"  # from all over


def test_sample_of_text_and_of_little(tmp_path: Path) -> None:
    source = TextSource(text_dir(tmp_path, ["yes", "a", "yes", "b", "c"]))
    assert len(sample(source, 16, 0.0).ids) == 4
    assert len(sample(source, 2, 0.0).ids) == 2
