"""Digit strings from single recordings."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.corpora import fsdd, mini
from distill_asr.data.datadir import DataDir, validate
from distill_asr.errors import UserError

REAL = Path(os.environ.get("FSDD") or Path(__file__).parents[3] / "shared" / "data" / "fsdd")
SMALL = dict.fromkeys(fsdd.SIZES, 6)


def _make_recordings(folder: Path, speakers: list[str], count: int = 12) -> Path:
    """A tone for each digit, its pitch the digit, its level the speaker's."""
    folder.mkdir(parents=True)
    time = np.arange(1600) / 8000
    for level, speaker in enumerate(speakers, start=1):
        for digit in range(10):
            tone = 0.1 * level * np.sin(2 * np.pi * (300 + 150 * digit) * time)
            for index in range(count):
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", tone, 8000)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fsdd set")  # a path with a space
    _make_recordings(root / "recordings", ["anna", "bert", "carl"])
    return root


@pytest.fixture(scope="module")
def corpus(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "data"
    fsdd.build(out, recordings, sizes=SMALL)
    return out


def test_every_set_is_valid(corpus: Path) -> None:
    for name in fsdd._POOLS:
        data, _ = validate(corpus / name, sampling_rate=16000)
        assert len(data) == (12 if name == "teacher_train" else 6)
        assert (data.text is None) == (name == "unlab")
    left_out = {one.name: set(validate(one)[0].utt2spk.values()) for one in corpus.iterdir()}
    assert left_out.pop("test_left_out") == {"carl"}
    assert not any("carl" in speakers for speakers in left_out.values())
    assert left_out["test"] == {"anna", "bert"}


def test_the_text_is_what_is_heard(corpus: Path) -> None:
    """Find the tones again: as many as digits, each at its digit's pitch."""
    data, _ = validate(corpus / "test")
    for key, text in data.text.items():
        samples, rate = soundfile.read(data.wav[key])
        frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)  # 10 ms
        loud = np.square(frames).mean(axis=1) > 0.1 * np.square(frames).mean(axis=1).max()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
        heard = []
        for start, end in edges.reshape(-1, 2):
            part = samples[160 * start : 160 * end]
            peak = np.argmax(np.abs(np.fft.rfft(part, n=rate)))
            heard.append(mini.DIGITS[round((peak - 300) / 150)])
        assert " ".join(heard) == text


def test_parts_share_no_recording(recordings: Path) -> None:
    found = fsdd.read_recordings(fsdd.find_recordings(recordings))
    parts = fsdd.split(found, "carl", 0.2, seed=0)
    paths = [one.path for members in parts.values() for one in members]
    assert len(paths) == len(set(paths)) == len(found)
    assert {one.index for one in parts["test"]} == set(range(5))
    for part in ("labelled", "unlabelled", "dev"):
        assert not {one.index for one in parts[part]} & set(range(5))
        assert {(one.speaker, one.digit) for one in parts[part]} == {
            (speaker, digit) for speaker in ("anna", "bert") for digit in range(10)
        }


def test_sets_are_made_of_their_own_parts(recordings: Path) -> None:
    found = fsdd.read_recordings(fsdd.find_recordings(recordings))
    parts = fsdd.split(found, "carl", 0.2, seed=0)
    used = {}
    for name, pools in fsdd._POOLS.items():
        pool = [one for part in pools for one in parts[part]]
        planned = fsdd.plan_strings(name, pool, 60, seed=0)
        assert all(3 <= len(one.text.split()) <= 7 for one in planned)
        used[name] = {path for one in planned for path in one.plan[0]}
    for one, other in [("train", "unlab"), ("train", "dev"), ("unlab", "dev")]:
        assert not used[one] & used[other]
    for name in ("train", "unlab", "dev", "teacher_train", "teacher_dev"):
        assert not used[name] & (used["test"] | used["test_left_out"])
    assert not used["teacher_train"] & used["teacher_dev"]


def test_a_string_has_one_speaker_and_no_click(recordings: Path) -> None:
    rng = np.random.default_rng(0)
    step = np.full(800, 0.5, dtype=np.float32)  # starts and ends with a jump
    joined = fsdd.join([step, step], rng)
    assert np.abs(np.diff(joined)).max() < 0.05
    pauses = len(joined) - 1600
    assert 3 * 0.05 * 8000 - 3 <= pauses <= 3 * 0.3 * 8000


def test_the_same_seed_gives_the_same_audio(recordings: Path, corpus: Path, tmp_path: Path) -> None:
    fsdd.build(tmp_path / "again", recordings / "recordings", sizes=SMALL)
    for name in fsdd._POOLS:
        one = sorted((corpus / name / "wav").iterdir())
        other = sorted((tmp_path / "again" / name / "wav").iterdir())
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_another_left_out_speaker(recordings: Path, tmp_path: Path) -> None:
    fsdd.build(tmp_path / "data", recordings, left_out="anna", sizes=SMALL)
    speakers = set(validate(tmp_path / "data" / "test_left_out")[0].utt2spk.values())
    assert speakers == {"anna"}


def test_one_speaker_is_too_few(tmp_path: Path) -> None:
    _make_recordings(tmp_path / "recordings", ["anna"])
    with pytest.raises(UserError, match=r"1 speaker \(anna\), at least 2"):
        fsdd.build(tmp_path / "data", tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "the Free Spoken Digit Dataset is needed: get it"),
        ("", "the Free Spoken Digit Dataset is needed: get it"),
        ("nowhere", "nowhere is not a directory; expected the Free Spoken Digit Dataset"),
        ("empty", "empty has no wav files, and no recordings/ with any; expected the Free"),
    ],
)
def test_no_dataset(given: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"{said}.*git clone https.*FSDD=DIR"):
        fsdd.build(tmp_path / "data", tmp_path / given if given else given)


def test_bad_options_are_reported_together(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fsdd.build(tmp_path, recordings, left_out="dora", label_share=1.5)
    assert "anna, bert, carl" in caught.value.problems[0]
    assert "1.5" in caught.value.problems[1]


def test_bad_recordings_are_reported_together(tmp_path: Path) -> None:
    folder = _make_recordings(tmp_path / "recordings", ["anna", "bert"], count=7)
    (folder / "3_anna_2.wav").write_bytes(b"")
    (folder / "4_anna_2.wav").write_bytes(b"no audio at all")
    soundfile.write(folder / "5_anna_2.wav", np.zeros(0), 8000)
    soundfile.write(folder / "6_anna_2.wav", np.zeros((800, 2)), 16000)
    soundfile.write(folder / "seven_anna_2.wav", np.zeros(800), 8000)
    with pytest.raises(UserError) as caught:
        fsdd.build(tmp_path / "data", tmp_path)
    report = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for expected in ("3_anna_2", "4_anna_2", "no samples", "16000 Hz, 2 channel", "seven_anna"):
        assert expected in report


def test_a_speaker_without_test_recordings_is_named(tmp_path: Path) -> None:
    folder = _make_recordings(tmp_path / "recordings", ["anna", "bert"])
    for path in folder.glob("*_anna_[0-4].wav"):
        path.unlink()
    with pytest.raises(UserError, match="anna has too few recordings for the part 'test'"):
        fsdd.build(tmp_path / "data", tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no FSDD recordings at {REAL}; set FSDD=DIR")
def test_real_recordings(tmp_path: Path) -> None:
    sets = fsdd.build(tmp_path / "data", REAL, sizes=SMALL).sets
    data = {name: DataDir.read(tmp_path / "data" / name) for name in sets}
    speakers = {name: set(one.utt2spk.values()) for name, one in data.items()}
    (left_out,) = speakers["test_left_out"]
    assert left_out == max(speakers["train"] | {left_out})
    data, _ = validate(tmp_path / "data" / "test", sampling_rate=16000)
    for key, text in data.text.items():
        assert 0.3 < data.num_samples[key] / 16000 / len(text.split()) < 1.5  # s a digit
