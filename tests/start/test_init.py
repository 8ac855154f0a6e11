"""``distill-asr init``: from sources to a recipe, without ESPnet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

from distill_asr.errors import UserError
from distill_asr.io.yaml import load_config
from distill_asr.recipe.systems import Systems
from distill_asr.start.batches import batches
from distill_asr.start.choices import Wishes
from distill_asr.start.forecast import set_sizes
from distill_asr.start.init import InitOptions, Result, check_tables, init_recipe
from distill_asr.start.machine import Machine
from distill_asr.start.splits import SplitOptions
from distill_asr.testing.sources import Recordings
from distill_asr.train.config import TrainConfig

CPU = Machine(2, 8.0, 0)


def init(folder: Path, *sources: Path, machine: Machine = CPU, **options: Any) -> Result:
    return init_recipe(InitOptions(folder, tuple(sources), **options), machine, check_tables)


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    made = Recordings(tmp_path / "corpus")
    made.table()
    return made


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_recipe_of_a_table(recordings: Recordings, tmp_path: Path) -> None:
    result = init(tmp_path / "recipe", recordings.folder, language="en")
    recipe = tmp_path / "recipe"
    sets = {name: one.utterances for name, one in result.facts.items()}
    assert sets == {"train": 8, "dev": 4, "test": 4}
    speakers = {
        name: {line.split()[1] for line in (recipe / f"data/{name}/utt2spk").open()}
        for name in sets
    }
    assert not speakers["train"] & (speakers["test"] | speakers["dev"])
    assert not speakers["test"] & speakers["dev"]
    systems = Systems.read(recipe / "conf/systems.yaml")
    assert list(systems.systems) == ["baseline", "distilled"]
    assert set(systems.teachers) == {"wavlm", "hubert"}
    baseline, distilled = systems.systems.values()
    total = baseline.resolved().espnet["max_epoch"]
    stage_1 = systems.pretrain["distilled"].resolved().espnet["max_epoch"]
    assert total == stage_1 + distilled.resolved().espnet["max_epoch"]
    assert os.access(recipe / "run.sh", os.X_OK)
    assert subprocess.run(["bash", "-n", recipe / "run.sh"], check=False).returncode == 0
    assert not list(tmp_path.glob(".recipe*"))


def test_the_same_again_is_the_same(recordings: Recordings, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    init(recipe, recordings.folder)
    before = tree(recipe)
    again = init(recipe, recordings.folder)
    assert tree(recipe) == before
    assert not (again.written.new or again.written.changed or again.written.kept)
    init(tmp_path / "other", recordings.folder)
    other = tree(tmp_path / "other")
    assert {k for k in before if other[k] != before[k]} == {"README.md", ".init.json"}  # its name


def test_what_was_edited_stays_without_force(recordings: Recordings, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    init(recipe, recordings.folder)
    student = recipe / "conf/student.yaml"
    student.write_text("edited: true\n")
    again = init(recipe, recordings.folder, wishes=Wishes(epochs=7))
    assert again.written.kept == ("conf/student.yaml",)
    assert "conf/systems.yaml" in again.written.changed
    assert student.read_text() == "edited: true\n"
    init(recipe, recordings.folder, force=True)
    assert "edited" not in student.read_text()


def test_a_folder_of_somebody_else_is_left_alone(recordings: Recordings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not written by"):
        init(recordings.folder, recordings.folder)
    (tmp_path / "empty").mkdir()
    init(tmp_path / "empty", recordings.folder)


def test_embedded_audio_is_written_once(recordings: Recordings, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    saved = recordings.hugging_face(tmp_path / "saved")
    recipe = tmp_path / "recipe"
    init(recipe, saved)
    before = tree(recipe)
    assert sum(name.startswith("audio/") for name in before) == len(recordings.rows)
    location = (recipe / "data/test/wav.scp").read_text().split()[1]
    assert location.startswith("audio/") and (recipe / location).is_file()
    init(recipe, saved)
    assert tree(recipe) == before


def test_segments_stay_segments(recordings: Recordings, tmp_path: Path) -> None:
    result = init(tmp_path / "recipe", recordings.kaldi(tmp_path / "kaldi", segments=True))
    assert sum(one.utterances for one in result.facts.values()) == 2 * len(recordings.rows)
    assert (tmp_path / "recipe/data/train/segments").is_file()


def test_unlabelled_audio_is_for_stage_1(recordings: Recordings, tmp_path: Path) -> None:
    more = Recordings(tmp_path / "more", seed=9)
    result = init(tmp_path / "recipe", recordings.folder, unlabelled=(more.folder,))
    assert result.facts["unlab"].utterances == 16
    assert not (tmp_path / "recipe/data/unlab/text").exists()
    systems = yaml.safe_load((tmp_path / "recipe/conf/systems.yaml").read_text())
    assert systems["pretrain"]["distilled"]["train"] == ["train", "unlab"]
    assert "--unlabelled_sets unlab" in (tmp_path / "recipe/run.sh").read_text()


def test_audio_without_a_text_is_unlabelled(recordings: Recordings, tmp_path: Path) -> None:
    recordings.rows = recordings.rows[:-2]
    recordings.table()
    result = init(tmp_path / "recipe", recordings.folder)
    assert result.facts["unlab"].utterances == 2
    assert "2 audio file(s) without a text" in result.data.notes[0]
    left = init(tmp_path / "left", recordings.folder, untold="leave-out")
    assert "unlab" not in left.facts


def test_unknown_speakers_are_warned_of(recordings: Recordings, tmp_path: Path) -> None:
    for row in recordings.rows:
        row["speaker"] = ""
    recordings.table()
    result = init(tmp_path / "recipe", recordings.folder)
    assert "speakers are not known" in result.data.split.warnings[0]
    pattern = init(tmp_path / "pattern", recordings.folder, speaker_pattern=r"/(s\d)_")
    assert pattern.facts["train"].speakers == 2
    with pytest.raises(UserError, match="needs at least three"):
        init(tmp_path / "by", recordings.folder, split=SplitOptions("speaker"))


def test_one_speaker_is_warned_of(recordings: Recordings, tmp_path: Path) -> None:
    for row in recordings.rows:
        row["speaker"] = "me"
    recordings.table()
    result = init(tmp_path / "recipe", recordings.folder)
    assert "(one speaker)" in result.data.split.warnings[0]


def test_three_languages_are_refused_unless_one_is_chosen(
    recordings: Recordings, tmp_path: Path
) -> None:
    for number, row in enumerate(recordings.rows):
        row["language"] = ("de", "fr", "de", "it")[number % 4]
    recordings.table()
    with pytest.raises(UserError, match=r"3 are mixed, by utterances: de 8, fr 4, it 4"):
        init(tmp_path / "recipe", recordings.folder)
    with pytest.raises(UserError, match="expected at least 10"):
        init(tmp_path / "recipe", recordings.folder, language="de")
    both = init(tmp_path / "recipe", recordings.folder, several_languages=True)
    assert {teacher.name for teacher in both.teachers} == {"mhubert", "whisper"}
    page = (tmp_path / "recipe/README.md").read_text()
    assert "de 8, fr 4, it 4, by the source; one student for all" in page


def test_all_bad_files_at_once(recordings: Recordings, tmp_path: Path) -> None:
    wavs = recordings.folder / "wavs"
    (wavs / "s0_0.wav").write_bytes(b"RIFF")
    (wavs / "s0_1.wav").write_bytes(b"")
    shutil.copy(wavs / "s1_0.wav", wavs / "s1_1.wav")
    recordings.rows[9]["sentence"] = "..."
    recordings.rows[10]["sentence"] = "<blank>\x07"
    recordings.table()
    with pytest.raises(UserError) as failed:
        init(tmp_path / "recipe", recordings.folder)
    text = str(failed.value)
    for kind in ("unreadable audio", "empty audio", "contradictory duplicates", "bad text"):
        assert kind in text
    assert "nothing was written; --skip-bad" in text
    assert not (tmp_path / "recipe").exists() and not list(tmp_path.glob(".recipe*"))
    result = init(tmp_path / "recipe", recordings.folder, skip_bad=True)
    left = (tmp_path / "recipe/left_out.txt").read_text().splitlines()
    assert len(left) == len(result.data.skipped) == 5


def test_copies_count_once(recordings: Recordings, tmp_path: Path) -> None:
    wavs = recordings.folder / "wavs"
    shutil.copy(wavs / "s0_0.wav", wavs / "s0_1.wav")
    recordings.rows[1]["sentence"] = recordings.rows[0]["sentence"]
    recordings.table()
    result = init(tmp_path / "recipe", recordings.folder)
    assert sum(one.utterances for one in result.facts.values()) == 15
    assert "occur twice" in result.data.notes[0]


def test_hostile_names_of_files(recordings: Recordings, tmp_path: Path) -> None:
    wavs, names = (
        recordings.folder / "wavs",
        ["rm -rf |", "a\nb.wav", "$(x) `y` 'z'.wav", "é ü.wav"],
    )
    for name, row in zip(names, recordings.rows, strict=False):
        (recordings.folder / row["path"]).rename(wavs / name)
        row["path"] = f"wavs/{name}"
    recordings.table()
    with pytest.raises(UserError) as failed:
        init(tmp_path / "recipe", recordings.folder)
    assert len([one for one in failed.value.problems if one.startswith("bad file name")]) == 2
    init(tmp_path / "recipe", recordings.folder, skip_bad=True)
    lines = [line for one in tmp_path.glob("recipe/data/*/wav.scp") for line in one.open()]
    assert any("$(x) `y` 'z'.wav" in line for line in lines)
    assert all(line.split()[0].replace("_", "").replace("-", "").isalnum() for line in lines)


def test_splits_of_the_source_count(recordings: Recordings, tmp_path: Path) -> None:
    for number, row in enumerate(recordings.rows):
        row["split"] = ("train", "train", "validation", "test-clean")[number % 4]
    recordings.table()
    result = init(tmp_path / "recipe", recordings.folder)
    assert set(result.facts) == {"train", "dev", "test_clean"}
    assert result.data.split.how == "the source's splits"
    for row in recordings.rows:
        row["split"] = "dev" if row["split"] == "train" else row["split"]
    recordings.table()
    with pytest.raises(UserError, match=r"the splits .*dev.* but none for training; --set NAME"):
        init(tmp_path / "other", recordings.folder)
    for row in recordings.rows:
        row["split"] = "whatever"
    recordings.table()
    with pytest.raises(UserError, match=r"--set whatever=train"):
        init(tmp_path / "other", recordings.folder)
    init(tmp_path / "other", recordings.folder, split=SplitOptions(own={"whatever": "train"}))


def test_too_little_and_nothing(recordings: Recordings, tmp_path: Path) -> None:
    recordings.rows = recordings.rows[:5]
    recordings.table()
    with pytest.raises(UserError, match=r"5 utterance\(s\) with transcripts"):
        init(tmp_path / "recipe", recordings.folder)
    (tmp_path / "alone").mkdir()
    shutil.copytree(recordings.folder / "wavs", tmp_path / "alone/wavs")
    with pytest.raises(UserError, match="no utterance has a transcript"):
        init(tmp_path / "recipe", tmp_path / "alone")
    with pytest.raises(UserError, match="expected a source"):
        init(tmp_path / "recipe", split=SplitOptions(dev_share=2.0))


def test_teachers_of_the_local_cache_come_first(recordings: Recordings, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub/models--facebook--hubert-base-ls960/snapshots/0"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "hubert", "num_hidden_layers": 12}')
    (snapshot / "model.safetensors").touch()
    result = init(tmp_path / "recipe", recordings.folder, language="en")
    assert [(one.model, one.local) for one in result.teachers] == [
        ("facebook/hubert-base-ls960", True)
    ]
    text = tmp_path / "bert"
    text.mkdir()
    (text / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 12}')
    with pytest.raises(UserError, match="a bert is not a speech encoder"):
        init(tmp_path / "other", recordings.folder, teachers=(str(text),))


def test_the_machine_and_the_hours_choose(recordings: Recordings, tmp_path: Path) -> None:
    gpu = init(tmp_path / "a", recordings.folder, machine=Machine(16, 64, 1, "x"), language="en")
    assert gpu.teachers[0].model == "microsoft/wavlm-large" and gpu.choices.ngpu == 1
    assert "--device cuda" in (tmp_path / "a/run.sh").read_text()
    wishes = Wishes("10m", True, "bpe", 30, predictor="stateless")
    stream = init(tmp_path / "b", recordings.folder, wishes=wishes)
    student = TrainConfig.parse(load_config(tmp_path / "b/conf/student.yaml"), "student").espnet
    assert (student["decoder"], student["decoder_conf"]) == ("stateless", {"embed_size": 144})
    assert stream.choices.base == "stream_10m"
    assert (tmp_path / "b/conf/student/transducer_10m.yaml").is_file()
    assert "--vocab-size 30" in (tmp_path / "b/run.sh").read_text()


def test_stereo_is_mixed(recordings: Recordings, tmp_path: Path) -> None:
    path = recordings.folder / recordings.rows[0]["path"]
    samples, rate = soundfile.read(path)
    soundfile.write(path, [[one, one] for one in samples], rate)
    init(tmp_path / "recipe", recordings.folder)
    assert "--channel mix" in (tmp_path / "recipe/run.sh").read_text()


def test_the_language_is_given_by_the_source_or_guessed(tmp_path: Path) -> None:
    made = Recordings(tmp_path / "corpus")
    words = "This is the house, and it was not there when we came to it."
    made.rows = [
        {"path": row["path"], "sentence": f"{words} {i}", "speaker": row["speaker"]}
        for i, row in enumerate(made.rows)
    ]
    made.table()
    guessed = init(tmp_path / "guessed", made.folder)
    assert any("language en: guessed" in one for one in guessed.reasons)
    given = init(tmp_path / "given", made.folder, language="en")
    assert any("language en: as given (--language)" in one for one in given.reasons)
    assert "guessed" not in (tmp_path / "given/README.md").read_text()


def test_init_states_the_updates_that_plan_states(recordings: Recordings, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    more = Recordings(tmp_path / "radio", seed=1).folder
    result = init(recipe, recordings.folder, unlabelled=(more,), wishes=Wishes(epochs=7))
    said = next(one for one in result.reasons if one.startswith("schedule: "))
    baseline, first, second = map(
        int, re.search(r"schedule: (\d+) updates .* gets (\d+) and (\d+) in", said).groups()
    )
    config = load_config([str(recipe / "conf/student.yaml")])
    sizes = set_sizes(("train", "unlab"), recipe, {})
    one_epoch = batches(sizes["train"].lengths, config).count
    both = batches([one for size in sizes.values() for one in size.lengths], config).count
    epochs = result.choices
    assert baseline == 7 * one_epoch
    assert (first, second) == (epochs.stage_1_epochs * both, epochs.stage_2_epochs * one_epoch)
