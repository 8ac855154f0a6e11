"""Which commands the stages take: shared stage 1, targets where they are needed, the recogniser."""

from dataclasses import replace
from pathlib import Path

import pytest

from distill_asr.cli import main
from distill_asr.errors import UserError
from distill_asr.recipe import plan
from distill_asr.recipe.languages import in_folders, with_chosen
from distill_asr.recipe.plan import Grid, Sets
from distill_asr.recipe.systems import RecipeTeacher, Systems
from distill_asr.testing.recipes import EGS

MINI = Systems.read(EGS / "mini" / "asr1" / "conf" / "systems.yaml")
SETS = Sets(("train",), ("unlab",), ("dev",), ("test_clean", "test_noisy"))


def grid(names: str, seeds: tuple[int, ...] = (1,)) -> Grid:
    return Grid(MINI, MINI.chosen(names), seeds, SETS, folder=EGS / "mini" / "asr1")


def names(jobs: list) -> list[str]:
    return [job.name.removeprefix("asr1: ") for job in jobs]


def test_systems_share_their_stage_1() -> None:
    jobs = plan.train_jobs(grid("baseline,two_teachers,two_teachers_path", (1, 2)))
    assert names(jobs) == [
        "pretrain two_seed1", "pretrain two_seed2",
        "train baseline_seed1", "train two_teachers_seed1", "train two_teachers_path_seed1",
        "train baseline_seed2", "train two_teachers_seed2", "train two_teachers_path_seed2",
    ]  # fmt: skip
    by_name = dict(zip(names(jobs), jobs, strict=True))
    assert by_name["train baseline_seed2"].after == ()
    assert by_name["train two_teachers_seed2"].after == ("asr1: pretrain two_seed2",)
    command = " ".join(by_name["train two_teachers_path_seed2"].command)
    assert "--init exp/pretrain_two_seed2 --output exp/two_teachers_path_seed2" in command
    assert "--config ../../../conf/student/transducer_1m.yaml" in command
    assert (
        "--set distill.path.weight=0.5 --train dump/train --valid dump/dev --set seed=2" in command
    )


def test_a_stage_begins_with_the_stage_above_it(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "a.yaml").write_text("model: encoder_only\ndistill: {t: {teacher: t}}\n")
    (conf / "b.yaml").write_text("model: ctc\n")
    (conf / "systems.yaml").write_text(
        "teachers: {t: {set: {kind: speech, model: m}}}\n"
        "pretrain:\n"
        "  first: {config: a.yaml, train: [train, unlab]}\n"
        "  second: {pretrain: first, config: b.yaml, train: [train]}\n"
        "systems:\n"
        "  one: {pretrain: second, init_parts: [encoder, ctc], config: b.yaml}\n"
        "  two: {pretrain: first, config: b.yaml}\n"
    )
    systems = Systems.read(conf / "systems.yaml")
    both = Grid(systems, systems.chosen("all"), (3,), SETS, folder=tmp_path)
    first, second, one, two = (job for job in plan.train_jobs(both))
    assert [job.name.rpartition(": ")[2] for job in (first, second, one, two)] == [
        "pretrain first_seed3", "pretrain second_seed3", "train one_seed3", "train two_seed3",
    ]  # fmt: skip
    assert first.after == () and second.after == (first.name,)
    assert (one.after, two.after) == ((second.name,), (first.name,))
    command = " ".join(second.command)
    assert "--init exp/pretrain_first_seed3 --output exp/pretrain_second_seed3" in command
    assert "--init exp/pretrain_second_seed3 --init-parts encoder,ctc" in " ".join(one.command)
    assert plan.targets(both) == {"t": ["train", "unlab", "dev"]}


def test_targets_lie_where_a_training_reads_them() -> None:
    """On the validation sets for stage 1 alone, which is judged by its distillation loss."""
    assert plan.targets(grid("baseline")) == {}
    assert plan.targets(grid("one_teacher")) == {"hubert": ["train", "dev"]}
    everything = plan.targets(grid("two_teachers_unlab,everything"))
    speech = ["train", "unlab", "dev"]
    assert everything == {
        "hubert": speech, "wavlm": speech, "recogniser": ["train", "unlab_pseudo"],
    }  # fmt: skip


def test_a_repeat_is_trained_but_is_no_row(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "a.yaml").write_text("model: ctc\n")
    lines = ["systems:", "  plain: {config: a.yaml}", "  again: {repeats: taught}",
             "  taught: {config: a.yaml, set: {max_epoch: 3}}"]  # fmt: skip
    (conf / "systems.yaml").write_text("\n".join(lines))
    systems = Systems.read(conf / "systems.yaml")
    assert systems.systems["again"].set == {"max_epoch": 3}
    chosen = systems.chosen("plain,taught,again")
    wanted = Grid(systems, chosen, (1, 2), SETS)
    assert "train again_seed2" in names(plan.train_jobs(wanted))
    (job,) = plan.score_jobs(wanted, "plain", "taught")
    command = " ".join(job.command)
    assert "--systems plain,taught " in command
    assert command.endswith("--control taught --repeat again=taught")
    (conf / "systems.yaml").write_text(
        "\n".join([*lines, "  none: {repeats: tought, config: a.yaml}"])
    )
    with pytest.raises(UserError, match="did you mean 'taught'"):
        Systems.read(conf / "systems.yaml")


def test_the_teachers_that_the_chosen_systems_need() -> None:
    assert plan.own_teachers(grid("baseline")) == []
    assert names(plan.teacher_jobs(grid("one_teacher"))) == ["train-teacher hubert"]
    # the recogniser, whose paths it learns, starts from WavLM
    teachers = [one.name for one in plan.own_teachers(grid("baseline,two_teachers_path"))]
    assert teachers == ["hubert", "wavlm"]
    only_paths = replace(MINI.systems["two_teachers_path"], pretrain=None)
    chosen = replace(grid("baseline"), chosen=[only_paths])
    assert [one.name for one in plan.own_teachers(chosen)] == ["wavlm"]
    # a teacher that runs in the step has nothing to dump
    recipe = EGS / "mini_homophones" / "asr1"
    systems = Systems.read(recipe / "conf" / "systems_ctc.yaml")
    nbest = Grid(systems, systems.chosen("nbest"), (1,), SETS, folder=recipe)
    assert plan.targets(nbest) == {}
    assert [one.name for one in plan.own_teachers(nbest)] == ["bert"]


def test_the_recogniser_is_trained_where_a_system_asks_for_it() -> None:
    assert plan.recogniser_jobs(grid("two_teachers"), [], []) == []
    paths = plan.recogniser_jobs(grid("two_teachers_path"), ["--method", "greedy"], [])
    assert names(paths) == ["train recogniser", "decode recogniser"]
    assert paths[1].command[-2:] == ("--method", "greedy")
    words = plan.recogniser_jobs(grid("everything"), [], ["--keep-best", "0.5"])
    assert names(words)[-1] == "pseudo-label unlab"
    assert words[-1].after == (words[0].name,)
    assert "--set seed=" not in " ".join(words[0].command), "as in the tables: ESPnet's own seed"
    assert len(plan.score_jobs(grid("everything"))) == 2


def test_a_pretrained_labeller_takes_the_recogniser_s_place() -> None:
    labeller = RecipeTeacher("labeller", (MINI.path.parent / "whisper.yaml",), {"language": "ru"})
    chosen = grid("everything")
    chosen = replace(chosen, systems=replace(MINI, labeller=labeller))
    jobs = plan.recogniser_jobs(chosen, [], ["--max-repeats", "3"])
    assert names(jobs) == ["train recogniser", "decode recogniser", "pseudo-label unlab"], (
        "its paths are targets still"
    )
    words = jobs[-1]
    assert words.after == () and "--exp" not in words.command
    at = words.command.index("--teacher")
    assert words.command[at + 1].endswith("whisper.yaml")
    assert words.command[at + 2 : at + 4] == ("--set", "language=ru")
    plain = MINI.systems["baseline"].config
    only_words = replace(MINI.systems["everything"], pretrain=None, config=plain)
    chosen = replace(chosen, chosen=[only_words])
    assert names(plan.recogniser_jobs(chosen, [], [])) == ["pseudo-label unlab"]
    assert len(plan.score_jobs(chosen)) == 1


def test_a_command_goes_before_each() -> None:
    elsewhere = replace(grid("baseline"), cmd=("srun", "-c", "4"))
    (job,) = plan.train_jobs(elsewhere)
    assert job.command[:5] == ("srun", "-c", "4", "distill-asr", "train")


def test_a_stage_may_have_validation_sets_of_its_own() -> None:
    systems = Systems.read(EGS / "mini_multilingual" / "asr1" / "conf" / "systems.yaml")
    letters, plain = plan.train_jobs(Grid(systems, systems.chosen("plain"), (1,), SETS))
    valid = ["dump/dev_whole"], [f"dump/{name}" for name in SETS.valid]
    for job, expected in zip((letters, plain), valid, strict=True):
        words = job.command
        found = [words[i + 1] for i, word in enumerate(words) if word == "--valid"]
        assert found == expected, job.name
    assert "dump/train_whole" in letters.command and "dump/train_whole" not in plain.command


def test_languages_have_a_folder_each_and_a_choice(tmp_path: Path) -> None:
    file = EGS / "commonvoice" / "asr1" / "conf" / "systems.yaml"
    systems = Systems.read(file)
    one = Grid(systems, systems.chosen("plain"), (1,), SETS)
    ta, ka = in_folders(one, [tmp_path / "ta", tmp_path / "ka"])
    choice = tmp_path / "chosen"
    with pytest.raises(UserError, match=r"report --choose"):
        with_chosen(ta, choice)
    choice.write_text("ta l2s_1\nka plain\n")
    assert [s.name for s in with_chosen(ta, choice).chosen] == ["plain", "l2s_1"]
    assert [s.name for s in with_chosen(ka, choice).chosen] == ["plain"]
    choice.write_text("all l2s_0.5\n")
    jobs = plan.decode_jobs(with_chosen(ka, choice))
    assert [job.name for job in jobs] == ["ka: decode plain_seed1", "ka: decode l2s_0.5_seed1"]
    choice.write_text("ka\n")
    with pytest.raises(UserError, match="expected `LANGUAGE SYSTEM`"):
        with_chosen(ka, choice)


def test_dry_run_prints_what_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(EGS / "mini" / "asr1")
    assert main(["recipe", "dump", "--systems", "one_teacher", "--dry-run"]) == 0
    assert capsys.readouterr().out == (
        "distill-asr dump --set kind=speech --set model=exp/teachers/hubert --set 'layers=[4]' "
        "--set 'codec={name: fp16}' --name hubert dump/train dump/dev\n"
    )
    assert main(["recipe", "list", "--systems", "two_teachers,baseline"]) == 0
    assert capsys.readouterr().out == "baseline two_teachers\n"
    assert main(["recipe", "train", "--systems", "nobody", "--dry-run"]) == 1
    assert main(["recipe", "train", "--seeds", "x", "--dry-run"]) == 1
    assert "--seeds: given 'x'" in capsys.readouterr().err
