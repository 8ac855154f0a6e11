"""Audio for a dump: checked headers, batches, reading."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.targets.source import AudioSource, batches
from distill_asr.testing.data_dirs import write_data_dir

LENGTHS = st.dictionaries(st.text("abc", min_size=1), st.integers(1, 50_000), min_size=1)


@given(LENGTHS, st.floats(0.01, 10))
def test_batches(lengths: dict[str, int], seconds: float) -> None:
    groups = batches(lengths, lengths, seconds)
    assert sorted(u for group in groups for u in group) == sorted(lengths)
    for group in groups:
        padded = len(group) * max(lengths[u] for u in group)
        assert len(group) == 1 or padded <= seconds * 16000
    order = [lengths[u] for group in groups for u in group]
    assert order == sorted(order, reverse=True)
    assert batches(lengths, reversed(list(lengths)), seconds) == groups


def test_reads_every_sample(tmp_path: Path) -> None:
    source = AudioSource(DataDir.read(write_data_dir(tmp_path, {"a": 700, "b": 500})))
    expected, _ = soundfile.read(tmp_path / "wav/a.wav", dtype="float32")
    assert np.array_equal(source.read("a"), expected)
    assert source.problems() == []


def test_all_bad_headers_in_one_error(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path, dict.fromkeys("abcde", 800))
    soundfile.write(data / "wav/a.wav", np.zeros(800), 8000)
    soundfile.write(data / "wav/b.wav", np.zeros((800, 2)), 16000)
    soundfile.write(data / "wav/c.wav", np.zeros(799), 16000)
    (data / "wav/d.wav").write_text("no audio")
    (data / "wav/e.wav").unlink()
    with pytest.raises(UserError) as caught:
        AudioSource(DataDir.read(data))
    found = [p.partition(".wav: ")[2] for p in caught.value.problems]
    assert all(f"utterance {u}: " in p for u, p in zip("abcde", caught.value.problems, strict=True))
    assert found[0].startswith("8000 Hz, 1 channel") and "prepare" in found[0]
    assert found[1].startswith("16000 Hz, 2 channel")
    assert found[2].startswith("799 samples, but utt2num_samples says 800")
    assert all(text.startswith("cannot be read") for text in found[3:])


def test_bad_samples_are_all_named(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path, dict.fromkeys("abc", 800))
    soundfile.write(data / "wav/a.wav", np.full(800, np.nan), 16000, subtype="FLOAT")
    source = AudioSource(DataDir.read(data))
    path = data / "wav/c.wav"
    path.write_bytes(path.read_bytes()[:-100])
    first, second = source.problems()
    assert "utterance a: " in first and "NaN" in first
    assert "utterance c: " in second and "truncated" in second


def test_unprepared_data_dir(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path, {"a": 800})
    (data / "utt2num_samples").unlink()
    with pytest.raises(UserError, match=r"utt2num_samples; run `distill-asr prepare`"):
        AudioSource(DataDir.read(data))
