"""What teachers read: checked headers, sentences, batches, fingerprints."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.data.datadir import DataDir
from distill_asr.dump.source import (
    AudioSource,
    AudioTextSource,
    BadSamplesError,
    DataSource,
    TextSource,
    open_source,
)
from distill_asr.errors import UserError
from distill_asr.teachers.batching import batches_of_audio, grouped
from distill_asr.testing.data_dirs import write_data_dir

LENGTHS = st.dictionaries(st.text("abc", min_size=1), st.integers(1, 50_000), min_size=1)
SENTENCES = {"a": "so be it", "b": "yes", "c": "no", "d": "yes", "e": "yes"}


@dataclass
class Limits:
    """A teacher as far as sizes go: a piece a word."""

    min_samples: int = 400
    max_size: int | None = None

    def size(self, item: str) -> int:
        return len(item.split())

    def objection(self, item: str) -> None:
        """Takes all."""


@given(LENGTHS, st.floats(0.01, 10))
def test_batches(lengths: dict[str, int], seconds: float) -> None:
    groups = batches_of_audio(lengths, lengths, seconds)
    assert sorted(u for group in groups for u in group) == sorted(lengths)
    for group in groups:
        padded = len(group) * max(lengths[u] for u in group)
        assert len(group) == 1 or padded <= seconds * 16000
    order = [lengths[u] for group in groups for u in group]
    assert order == sorted(order, reverse=True)
    assert batches_of_audio(lengths, reversed(list(lengths)), seconds) == groups
    assert grouped(lengths, seconds * 16000) == groups


def data_dir(path: Path, sentences: dict[str, str] = SENTENCES, file: str = "text") -> DataDir:
    write_data_dir(path, {u: 700 + 10 * i for i, u in enumerate("abcde")})
    (path / file).write_text("".join(f"{u} {s}\n" for u, s in sentences.items()))
    return DataDir.read(path)


# --- audio ----------------------------------------------------------------------------------


def test_reads_every_sample(tmp_path: Path) -> None:
    source = AudioSource(DataDir.read(write_data_dir(tmp_path, {"a": 700, "b": 500})))
    expected, _ = soundfile.read(tmp_path / "wav/a.wav", dtype="float32")
    assert np.array_equal(source.read("a"), expected)
    assert source.amount(["a", "b"]) == 1200
    assert source.groups() == [["a"], ["b"]]
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
    assert found[2].startswith("799 samples, but utt2num_samples has 800")
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
    with pytest.raises(BadSamplesError, match="utterance c: "):
        source.read("c")


def test_unprepared_data_dir(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path, {"a": 800})
    (data / "utt2num_samples").unlink()
    with pytest.raises(UserError, match=r"utt2num_samples; run `distill-asr prepare`"):
        AudioSource(DataDir.read(data))


def test_hashes_found_elsewhere_are_taken_over(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path, {"a": 700, "b": 500})
    here, there = (AudioSource(DataDir.read(data)) for _ in range(2))
    expected = here.fingerprint()
    there.learn(here.part(["a"]).file_digests(["a"]))
    there.learn(here.part(["b"]).file_digests(["b"]))
    for path in (data / "wav").iterdir():
        path.unlink()  # nothing is left to be read
    assert there.fingerprint() == expected


# --- text -----------------------------------------------------------------------------------


def test_equal_sentences_are_one_item(tmp_path: Path) -> None:
    source = TextSource(data_dir(tmp_path))
    assert source.groups() == [["a"], ["b", "d", "e"], ["c"]]
    assert source.sizes(source.ids, Limits()) == {"a": 3, "b": 1, "c": 1, "d": 1, "e": 1}
    assert source.read("d") == "yes" and source.amount("abc") == 3
    part = source.part(["e", "b", "d"])
    assert part.groups() == [["b", "d", "e"]]


def test_a_file_of_another_name(tmp_path: Path) -> None:
    source = open_source("text", data_dir(tmp_path, file="text.lower"), "text.lower")
    assert source.read("a") == "so be it"
    assert source.fingerprint().text == "text.lower"


@pytest.mark.parametrize("reads", ["text", "audio+text"])
def test_sentences_that_do_not_fit_the_audio(tmp_path: Path, reads: str) -> None:
    data = data_dir(tmp_path, SENTENCES | {"x": "who"}, "other")
    (tmp_path / "other").write_text("a one\nx two\n")
    with pytest.raises(UserError) as caught:
        open_source(reads, data, "other")
    lost, extra = caught.value.problems
    assert "other: no sentence for 4 utterance(s) (b, c, d, e) of wav.scp" in lost
    assert "other: 1 utterance(s) (x) not in wav.scp" in extra
    with pytest.raises(UserError, match="name another file with `text:`"):
        open_source(reads, data, "nowhere")


# --- all ------------------------------------------------------------------------------------


@pytest.fixture(params=["audio", "text", "audio+text"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> DataSource:
    return open_source(request.param, data_dir(tmp_path))


def test_parts_are_as_good_as_the_whole(source: DataSource, monkeypatch, tmp_path: Path) -> None:
    part = pickle.loads(pickle.dumps(source.part(["d", "b"])))
    monkeypatch.chdir(tmp_path.parent)
    assert part.ids == ["b", "d"] and part.reads == source.reads
    one, other = part.read("d"), source.read("d")
    if source.reads == "audio+text":
        assert one[1] == other[1]
        one, other = one[0], other[0]
    assert np.array_equal(one, other)
    assert part.sha256(part.ids) == source.sha256(["d", "b"])
    assert part.sizes(part.ids, Limits()) == source.sizes(["b", "d"], Limits())
    assert source.sha256(["a"]) != source.sha256(["b"])


def test_fingerprints_say_what_is_read(source: DataSource) -> None:
    found = source.fingerprint()
    assert found.utterances == 5
    assert bool(found.audio_sha256) == bool(found.lengths_sha256) == ("audio" in source.reads)
    assert bool(found.text_sha256) == bool(found.text) == ("text" in source.reads)


def test_what_changes_a_fingerprint(source: DataSource, tmp_path: Path) -> None:
    before = source.fingerprint()
    change = {"audio": change_a_sample, "text": change_a_word}
    for kind, make in change.items():
        make(tmp_path)
        after = open_source(source.reads, DataDir.read(tmp_path)).fingerprint()
        assert (after != before) == (kind in source.reads)
        before = after


def change_a_sample(path: Path) -> None:
    samples, rate = soundfile.read(path / "wav/b.wav", dtype="int16")
    samples[7] += 1
    soundfile.write(path / "wav/b.wav", samples, rate, subtype="PCM_16")


def change_a_word(path: Path) -> None:
    (path / "text").write_text((path / "text").read_text().replace("no", "never"))


def test_items_of_a_wrong_size_are_all_named(tmp_path: Path) -> None:
    audio = AudioSource(data_dir(tmp_path))
    first, second, third = audio.size_problems(Limits(min_samples=705, max_size=725))
    assert "utterance a: " in first and "700 samples, the teacher needs at least 705" in first
    assert "utterance d: " in second and "730 samples, the teacher takes at most 725" in second
    assert "utterance e: " in third and "`distill-asr prepare`" in third
    text = TextSource(data_dir(tmp_path, SENTENCES))
    text.text["c"] = ""
    long, empty = text.size_problems(Limits(max_size=2))
    assert "utterance a: 'so be it': 3 pieces, the teacher takes at most 2" in long
    assert "utterance c: '': 0 pieces, the teacher needs at least 1" in empty and "`text`" in empty
    assert AudioTextSource(data_dir(tmp_path)).size_problems(Limits()) == []
