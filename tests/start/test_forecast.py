"""What ``distill-asr plan`` makes of rates and sizes; nothing is measured here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr import cli
from distill_asr.errors import UserError
from distill_asr.recipe.jobs import Job
from distill_asr.recipe.plan import Grid, Sets
from distill_asr.recipe.systems import Systems
from distill_asr.start.batches import Batches
from distill_asr.start.cost import (
    TRAIN_START,
    CommonRates,
    Cost,
    OwnTeacherRates,
    StageCost,
    StudentRates,
    TeacherRates,
    TrainingPlan,
    joined,
    readable_time,
    table,
    training_cost,
    wall_seconds,
)
from distill_asr.start.forecast import ForecastOptions, forecast, set_sizes
from distill_asr.start.plan_command import folders_of, read_script, search_of

MINI = Path(__file__).parents[2] / "egs/mini/asr1"
COMMON = CommonRates(10.0, 12.0, 2.0, 6.0, 0.001, 0.002, 1.0, 1e10)
HOURS = {"train": 0.07, "unlab": 1.15, "dev": 0.05, "test_clean": 0.14, "test_noisy": 0.14}


class Rates:
    """The same for everybody."""

    def common(self) -> CommonRates:
        return COMMON

    def student(self, config, audio, options) -> StudentRates:
        return StudentRates(0.01, 0.004, 0.03, 1_000_000, 900.0)

    def teacher(self, config, sample, own=None) -> TeacherRates:
        return TeacherRates(0.01, 50 * 128 * 2, 700.0)

    def own_teacher(self, own) -> OwnTeacherRates:
        return OwnTeacherRates(240.0, 900.0, 12.0)


def job(name: str, *after: str) -> Job:
    return Job(name, ("true",), Path("log"), after=after)


@pytest.fixture
def mini(monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.chdir(MINI)
    systems = Systems.read("conf/systems.yaml")
    sets = Sets(("train",), ("unlab",), ("dev",), ("test_clean", "test_noisy"))
    return Grid(systems, systems.chosen("baseline,two_teachers_unlab"), (1,), sets)


def test_every_stage_of_a_recipe_has_its_cost(mini: Grid) -> None:
    stages = forecast(mini, Rates(), ForecastOptions(2, 2, HOURS))
    names = [stage.name for stage in stages]
    assert names == ["prepare", "teachers", "dump", "train", "decode", "score"]
    train = stages[3]
    assert set(train.jobs) == {
        "pretrain two_unlab_seed1", "train baseline_seed1", "train two_teachers_unlab_seed1",
    }  # fmt: skip
    assert all(stage.wall > 0 for stage in stages)
    # two at a time: no longer than one after the other, no shorter than the longest
    alone = [cost.seconds for cost in train.jobs.values()]
    assert max(alone) <= train.wall < sum(alone)
    heard = (1.15 + 0.07 + 0.05) * 3600
    assert stages[2].jobs["dump hubert"].disk == pytest.approx(heard * 12800 / 2**20)


def test_a_published_teacher_that_is_not_here_is_stored_as_its_codec_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """WavLM large, width 1024: 16 codes of a byte a frame, or 2 bytes a value."""
    monkeypatch.chdir(MINI.parents[1] / "librispeech_100/asr1")
    monkeypatch.setenv("HF_HUB_CACHE", "none")
    systems = Systems.read("conf/systems.yaml")
    hours = {"train": 1.0, "dev": 0.5, "test_clean": 0.1}
    sets = Sets(("train",), (), ("dev",), ("test_clean",))
    one = Grid(systems, systems.chosen("one_teacher_10m"), (1,), sets)
    halves = replace(systems.teachers["wavlm"], set={"codec": {"name": "fp16"}})
    other = replace(one, systems=replace(systems, teachers=systems.teachers | {"wavlm": halves}))
    codes, states = (
        forecast(grid, Rates(), ForecastOptions(1, 1, hours))[1].jobs["dump wavlm"].disk
        for grid in (one, other)
    )
    assert codes == pytest.approx(1.5 * 3600 * 50 * 16 / 2**20)
    assert states == pytest.approx(128 * codes)


def test_twice_the_audio_costs_about_twice(mini: Grid) -> None:
    double = {name: 20 * hours for name, hours in HOURS.items()}
    quadruple = {name: 40 * hours for name, hours in HOURS.items()}
    first = sum(s.wall for s in forecast(mini, Rates(), ForecastOptions(2, 2, double)))
    second = sum(s.wall for s in forecast(mini, Rates(), ForecastOptions(2, 2, quadruple)))
    assert 1.9 < second / first < 2.0


def test_stated_rates_replace_measured_ones(mini: Grid) -> None:
    def dump(**rates: float) -> float:
        stages = forecast(mini, Rates(), ForecastOptions(1, 1, HOURS, rates))
        return stages[2].jobs["dump hubert"].seconds

    assert dump(dump=1000.0) < dump() < dump(dump=1.0)


def test_sets_of_unknown_size_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as failed:
        set_sizes(("train", "dev"), tmp_path, {})
    assert len(failed.value.problems) == 2 and "--hours train=10" in str(failed.value)
    assert "dev: neither data/dev nor dump/dev exists; state its hours" in str(failed.value)


def test_sets_that_a_stage_names_itself_are_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MINI.parents[1] / "mini_multilingual/asr1")
    systems = Systems.read("conf/systems.yaml")
    sets = Sets(("train", "train_whole"), ("test_whole",), ("dev",), ("test",))
    grid = Grid(systems, systems.chosen("plain"), (1,), sets)
    hours = dict.fromkeys((*sets.train, *sets.unlabelled, *sets.valid, *sets.test), 1.0)
    with pytest.raises(UserError, match="dev_whole: neither") as failed:
        forecast(grid, Rates(), ForecastOptions(2, 2, hours))
    assert len(failed.value.problems) == 1


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8), st.integers(1, 4), st.integers(1, 4))
def test_time_lies_between_its_bounds(seconds: list[float], nj: int, cores: int) -> None:
    jobs = [job(str(number)) for number in range(len(seconds))]
    costs = {one.name: Cost(s) for one, s in zip(jobs, seconds, strict=True)}
    slower = max(1.0, nj / cores)
    found = wall_seconds(jobs, costs, nj, cores)
    least = max(max(seconds), sum(seconds) / nj) * slower
    assert least <= found * 1.0001 and found <= sum(seconds) * slower * 1.0001


def test_a_job_waits_for_what_it_needs() -> None:
    jobs = [job("b", "a"), job("a"), job("c")]
    costs = {"a": Cost(5), "b": Cost(3), "c": Cost(1)}
    assert wall_seconds(jobs, costs, 2, 2) == 8
    assert wall_seconds(jobs, costs, 2, 1) == 16


def test_a_training_costs_its_padded_audio() -> None:
    plan = TrainingPlan(10, Batches(50, 900.0), Batches(5, 90.0), 5)
    rates = StudentRates(0.01, 0.005, 0.0, 1000, 1.0, 0.1)
    cost = training_cost(plan, rates, COMMON)
    epoch = 900 * 0.011 + 90 * 0.006 + 1
    assert cost.seconds == pytest.approx(12 + TRAIN_START + 10 * epoch)
    assert training_cost(plan, rates, COMMON, 50.0).seconds == pytest.approx(cost.seconds + 5)
    assert cost.work.startswith("500 updates")


def test_a_teacher_that_the_recipe_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = tmp_path / "asr1"
    shutil.copytree(MINI.parents[1] / "mini_homophones/asr1/conf", recipe / "conf")
    monkeypatch.chdir(recipe)
    systems = Systems.read("conf/systems.yaml")
    grid = Grid(systems, systems.chosen("baseline,both"), (1,), Sets(test=("test",)))
    hours = ForecastOptions(2, 2, {"train": 0.6, "dev": 0.1, "test": 0.2})
    later = {stage.name: stage for stage in forecast(grid, Rates(), hours)}
    assert later["teachers"].jobs["train-teacher bert"].work == later["dump"].jobs["dump bert"].work
    assert later["teachers"].wall == 0 and later["train"].wall > 0
    (recipe / "data/text").mkdir(parents=True)
    for name in ("train", "dev"):
        (recipe / f"data/text/{name}.txt").write_text("one two\n")
    known = {stage.name: stage for stage in forecast(grid, Rates(), hours)}
    assert known["teachers"].wall == COMMON.start_teacher + 240
    assert known["dump"].wall > COMMON.start_teacher


def test_the_table_and_its_units() -> None:
    lines = table([StageCost("train", {"train a": Cost(90, 10, 2048, "work")}, 5400)])
    assert lines[1].split() == ["train", "1.5", "h", "10", "MiB", "2.0", "GiB"]
    assert [readable_time(s) for s in (40, 120, 86400 * 3)] == ["40 s", "2.0 min", "3.0 d"]


def test_folders_share_the_jobs_at_a_time() -> None:
    def stages(seconds: float) -> list[StageCost]:
        jobs = {"pretrain a_seed1": Cost(seconds), "train a_seed1": Cost(seconds)}
        after = {"train a_seed1": ("pretrain a_seed1",)}
        prepared = StageCost("prepare", {"prepare train": Cost(2.0)}, 2.0)
        return [prepared, StageCost("train", jobs, 2 * seconds, after)]

    prepare, train = joined({"ta": stages(10), "ka": stages(10)}, 2, 2)
    assert prepare.wall == 4.0 and list(prepare.jobs) == ["ta: prepare train", "ka: prepare train"]
    assert train.wall == 20.0, "one language beside the other"
    assert joined({"ta": stages(10), "ka": stages(10)}, 1, 2)[1].wall == 40.0


def test_a_language_recipe_is_planned_by_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folders_of({}) == [Path()]
    for name in ("ta/data", "ka/dump", "joint/data"):
        (tmp_path / "langs" / name).mkdir(parents=True)
    assert folders_of({}) == [Path("langs/ka"), Path("langs/ta")]
    Path("data/text").mkdir(parents=True)
    assert folders_of({}) == [Path("langs/ka"), Path("langs/ta")], "data/ is of a text model"
    assert folders_of({"train": 1.0}) == [Path()]
    script = read_script(MINI.parents[1] / "mini_multilingual/asr1/run.sh")
    assert script["candidates"] == "l2s,aligned,transport"
    assert script["train_sets"] == "train train_whole"
    assert search_of(script).method == "greedy" and search_of({}).beam_size == 4
    assert search_of({"decode_opts": "--beam-size 10"}).beam_size == 10


def test_run_sh_tells_the_sets() -> None:
    script = read_script(MINI / "run.sh")
    assert script["test_sets"] == "test_clean test_noisy"
    assert script["systems"] == "baseline,two_teachers_unlab"
    assert read_script(MINI / "none.sh") == {}


def test_mistakes_with_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["plan", str(tmp_path)]) == 1
    assert "is" in capsys.readouterr().err
    assert cli.main(["plan", str(MINI), "--hours", "train", "--hours", "x=-1"]) == 1
    assert "2 problems" in capsys.readouterr().err
    assert cli.main(["plan", str(MINI), "--rate", "fly=1"]) == 1
    assert "expected one of dump, train, decode" in capsys.readouterr().err
