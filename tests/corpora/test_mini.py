"""The embedded English corpus, in miniature."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.corpora import mini
from distill_asr.corpora.generated import Planned, _render_one
from distill_asr.data.datadir import DataDir, validate
from distill_asr.errors import UserError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "data"
    mini.build(out, seed=1, sets=mini.shrunk(12))
    return out


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "wav.scp"
    }


def test_every_set_is_valid_and_has_16_khz_16_bit(corpus: Path) -> None:
    assert {path.name for path in corpus.iterdir()} == set(mini.SETS)
    for name, plan in mini.SETS.items():
        data, facts = validate(corpus / name, sampling_rate=16000)
        assert len(data) == 12
        assert (data.text is not None) == plan.labelled
        assert {one.subtype for one in facts.values()} == {"PCM_16"}
        assert {key: one.frames for key, one in facts.items()} == data.num_samples
        for path in data.wav.values():
            assert 0.29 <= np.abs(soundfile.read(path)[0]).max() <= 0.91


def test_ids_sort_by_speaker_too(corpus: Path) -> None:
    for name in mini.SETS:
        data = DataDir.read(corpus / name)
        assert list(data.wav) == sorted(data.wav)
        speakers = [data.utt2spk[key] for key in data.wav]
        assert speakers == sorted(speakers)
        assert all(key.startswith(f"{data.utt2spk[key]}-{name}-") for key in data.wav)


def test_an_interrupted_build_continues_and_gives_the_same(corpus: Path, tmp_path: Path) -> None:
    sets = mini.shrunk(12)
    some = {name: sets[name] for name in ("train", "test_noisy")}
    out = tmp_path / "data"
    mini.build(out, seed=1, sets=some)
    before = (out / "test_noisy").stat().st_mtime_ns
    leftover = out / ".train.abc.tmp"
    leftover.mkdir()
    shutil.rmtree(out / "train")
    mini.build(out, seed=1, sets=some)
    assert not leftover.exists()
    assert (out / "test_noisy").stat().st_mtime_ns == before
    assert _digest(corpus / "test_noisy" / "wav") == _digest(out / "test_noisy" / "wav")


def test_a_failure_leaves_no_half_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = mini.render, []

    def failing(one: mini.Planned) -> np.ndarray:
        calls.append(one)
        if len(calls) == 3:
            raise RuntimeError("no space")
        return real(one)

    monkeypatch.setattr(mini, "render", failing)
    with pytest.raises(RuntimeError, match="no space"):
        mini.build(tmp_path / "data", sets={"train": mini.shrunk(5)["train"]})
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("samples", [np.zeros(0), np.full(3, np.nan), np.full(3, 1.5)])
def test_samples_that_no_file_holds_are_an_error(samples: np.ndarray, tmp_path: Path) -> None:
    one = Planned("a-1", "a", "one", None)
    with pytest.raises(RuntimeError, match=f"a-1: {len(samples)} samples with peak "):
        _render_one(lambda _: samples, tmp_path, one)
    assert not list(tmp_path.iterdir())


def test_another_seed_gives_another_corpus_and_replaces_the_old(tmp_path: Path) -> None:
    sets = {"dev": mini.shrunk(4)["dev"]}
    mini.build(tmp_path, seed=1, sets=sets)
    old = _digest(tmp_path / "dev")
    mini.build(tmp_path, seed=2, sets=sets)
    assert old["text"] != _digest(tmp_path / "dev")["text"]


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "precious").write_text("x")
    with pytest.raises(UserError, match="will not overwrite"):
        mini.build(tmp_path, sets={"dev": mini.shrunk(4)["dev"]})
    assert (tmp_path / "dev" / "precious").read_text() == "x"


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    sets = {"teacher_train": mini.shrunk(60)["teacher_train"]}
    mini.build(tmp_path / "one", sets=sets, nj=1)
    mini.build(tmp_path / "two", sets=sets, nj=2)
    assert _digest(tmp_path / "one") == _digest(tmp_path / "two")


def test_sentences_keep_to_the_vocabulary_and_use_all_of_it() -> None:
    rng = np.random.default_rng(0)
    sentences = [mini.sentence(rng) for _ in range(5000)]
    assert {len(one.split()) for one in sentences} <= set(range(3, 9))
    assert {word for one in sentences for word in one.split()} == set(mini.vocabulary())
    assert 60 <= len(mini.vocabulary()) <= 80
    assert len(set(sentences)) > 4000


def test_sentences_of_test_sets_occur_nowhere_else() -> None:
    texts = mini.plan_texts(mini.SETS, seed=0)
    assert {name: len(drawn) for name, drawn in texts.items()} == {
        name: plan.utterances for name, plan in mini.SETS.items()
    }
    for name, plan in mini.SETS.items():
        if plan.distinct:
            others = {text for other in texts if other != name for text in texts[other]}
            assert len(set(texts[name])) == len(texts[name])
            assert not others & set(texts[name])


def test_nobody_has_heard_the_test_voices() -> None:
    others = [plan for name, plan in mini.SETS.items() if not name.startswith("test")]
    heard = {voice for plan in others for voice in plan.voices}
    variants = {voice.partition("+")[2] for voice in heard}
    assert len(set(mini.TEST_VOICES)) >= 6
    assert not {voice.partition("+")[2] for voice in mini.TEST_VOICES} & variants
    assert not set(mini.TEACHER_VOICES) & {*mini.STUDENT_VOICES, *mini.DEV_VOICES}
    assert not set(mini.TEACHER_DEV_VOICES) & set(mini.TEACHER_VOICES)


_HASH_ALL_VOICES = """
import hashlib
from distill_asr.corpora import mini
from distill_asr.corpora import synthesis as synth
digest = hashlib.sha256()
for voice in sorted({voice for plan in mini.SETS.values() for voice in plan.voices}):
    digest.update(synth.synthesise("seven thirty", voice, rate=150, pitch=40)[0].tobytes())
print(digest.hexdigest())
"""


def test_every_voice_exists_and_ignores_what_fresh_memory_contains() -> None:
    """Some of espeak-ng's voices read unset memory; glibc fills it with MALLOC_PERTURB_."""
    digests = set()
    for filling in ("0", "85", "170"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment["MALLOC_PERTURB_"] = filling
        command = [sys.executable, "-c", _HASH_ALL_VOICES]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
