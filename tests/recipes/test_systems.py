"""conf/systems.yaml: what it means, and every mistake in one report."""

from pathlib import Path

import pytest

from distill_asr.errors import UserError
from distill_asr.recipe.check import check_systems
from distill_asr.recipe.systems import Systems
from distill_asr.testing.recipes import EGS

GOOD = """
teachers:
  t: {config: t.yaml, train: {config: train_t.yaml, train: data/a, dev: data/b}}
  bert: teacher/bert.yaml
recogniser: {config: student.yaml, dump: t.yaml, set: {max_epoch: 4}}
pretrain:
  t: {config: [student.yaml, method/t.yaml], train: [train, unlab], set: {max_epoch: 9}}
systems:
  plain: {config: student.yaml, set: {optim_conf.lr: 1.0e-3, scheduler: null}}
  both: {pretrain: t, config: student.yaml, init_parts: [encoder, ctc], pseudo_labels: [unlab]}
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A recipe's conf/, below another conf/ that recipes share."""
    folder = tmp_path / "egs" / "r" / "asr1" / "conf"
    for path, text in {
        folder / "systems.yaml": GOOD,
        folder / "student.yaml": "model: ctc\nmodel_conf: {ctc_weight: 1.0}\nscheduler: x\n",
        folder / "t.yaml": "kind: speech\nmodel: m\nlayers: [1]\n",
        folder / "train_t.yaml": "kind: speech\n",
        tmp_path / "conf" / "teacher" / "bert.yaml": "kind: text\nmodel: m\nlayers: [1]\n",
        tmp_path
        / "conf"
        / "method"
        / "t.yaml": "model: encoder_only\ndistill: {t: {teacher: t}}\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_pretrained_labeller(conf: Path) -> None:
    words = conf.parents[3] / "conf" / "teacher" / "words.yaml"
    words.write_text("kind: recogniser\nmodel: m\noutput: words\n")
    lines = GOOD.replace(
        "recogniser: {config: student.yaml, dump: t.yaml,", "labeller: {config: w,"
    )
    file = conf / "systems.yaml"
    file.write_text(
        lines.replace("w, set: {max_epoch: 4}", "teacher/words.yaml, set: {language: ru}")
    )
    labeller = Systems.read(file).labeller
    assert labeller is not None and labeller.resolved().language == "ru"
    words.write_text("kind: recogniser\nmodel: m\noutput: word\n")
    with pytest.raises(UserError, match=r"systems.yaml: labeller: output: unknown value 'word'"):
        check_systems(file)
    words.write_text("kind: speech\nmodel: m\nlayers: [1]\n")
    file.write_text(file.read_text().replace(", set: {language: ru}", ""))
    with pytest.raises(UserError, match=r"labeller: kind 'speech'.* expected a file of"):
        check_systems(file)
    file.write_text("\n".join(line for line in lines.splitlines() if "labeller" not in line))
    with pytest.raises(UserError, match="or a pretrained one under `labeller:`"):
        Systems.read(file)


def test_what_a_file_says(conf: Path) -> None:
    systems = Systems.read(conf / "systems.yaml")
    plain, both = systems.chosen("all")
    assert (plain.name, plain.pretrain, plain.init_parts) == ("plain", None, ("encoder",))
    assert plain.overrides() == ["optim_conf.lr=0.001", "scheduler=null"]
    resolved = plain.resolved(["optim_conf.lr=2"]).content
    assert resolved["optim_conf"] == {"lr": 2} and resolved["scheduler"] is None
    assert (both.pretrain, both.init_parts) == ("t", ("encoder", "ctc"))
    assert both.pseudo_labels == ("unlab",)
    stage1 = systems.pretrain["t"]
    assert stage1.train == ("train", "unlab")
    assert stage1.resolved().content == {
        "model": "encoder_only", "scheduler": "x", "distill": {"t": {"teacher": "t"}},
        "max_epoch": 9,
    }  # fmt: skip
    teacher = systems.teachers["t"]
    assert teacher.train is not None and teacher.train.dev == "data/b"
    shared = conf.parents[3] / "conf"
    assert systems.teachers["bert"].config == ((shared / "teacher" / "bert.yaml").resolve(),)
    assert systems.recogniser is not None and systems.recogniser.dump.resolved().layers == (1,)
    assert systems.recogniser.training.overrides() == ["max_epoch=4"]


def test_systems_by_name_come_in_the_order_of_the_file(conf: Path) -> None:
    systems = Systems.read(conf / "systems.yaml")
    assert [one.name for one in systems.chosen("both,plain")] == ["plain", "both"]
    with pytest.raises(UserError, match="no system 'bath'; did you mean 'both'"):
        systems.chosen("plain,bath")
    with pytest.raises(UserError, match="there are plain, both"):
        systems.chosen("")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("system: {}", "system: unknown key; did you mean 'systems'?"),
        ("  odd: {config: nowhere.yaml}", "systems.odd.config: no such file: nowhere.yaml"),
        ("  odd: {set: {a: 1}}", "systems.odd.config: missing"),
        ("  odd: student.yaml", "systems.odd: expected {config, "),
        ("  odd: {config: student.yaml, pretrain: u}", "systems.odd.pretrain: 'u'"),
        ("  odd: {config: student.yaml, train: [x]}", "systems.odd.train: unknown key"),
        ("  odd: {config: student.yaml, set: 3}", "systems.odd.set: expected"),
        ("  odd: {config: [3]}", "systems.odd.config: expected a name or a list of names"),
        ("  a/b: {config: student.yaml}", "systems.a/b: a name becomes a directory"),
        ("  recogniser: {config: student.yaml}", "this name is taken by the recogniser's"),
    ],
)
def test_mistakes_are_named(conf: Path, line: str, message: str) -> None:
    path = conf / "systems.yaml"
    path.write_text(f"{GOOD}{line}\n")
    with pytest.raises(UserError) as raised:
        Systems.read(path)
    assert any(message in problem for problem in raised.value.problems), raised.value.problems
    assert all(problem.startswith(f"{path}: ") for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("  a: {pretrain: b, config: c.yaml, train: [x]}", "pretrain.a.pretrain: 'b'"),
        ("  a: {pretrain: a, config: c.yaml, train: [x]}", "'a' does not stand above 'a'; put"),
        (
            "  a: {pretrain: d, config: c.yaml, train: [x]}\n"
            "  d: {pretrain: a, config: c.yaml, train: [x]}",
            "pretrain.a.pretrain: 'd' does not stand above 'a'; put the earlier stage first",
        ),
    ],
)
def test_stages_before_stages_stand_above_them(conf: Path, stages: str, message: str) -> None:
    path = conf / "systems.yaml"
    path.write_text(
        "pretrain:\n" + stages.replace("c.yaml", "student.yaml") + "\n"
        "systems:\n  s: {pretrain: a, config: student.yaml}\n"
    )
    with pytest.raises(UserError) as raised:
        Systems.read(path)
    (problem,) = raised.value.problems
    assert message in problem


def test_all_mistakes_come_at_once(conf: Path) -> None:
    path = conf / "systems.yaml"
    path.write_text("teachers: 3\npretrain: {a: {config: student.yaml}}\nother: 1\n")
    with pytest.raises(UserError) as raised:
        Systems.read(path)
    text = str(raised.value)
    for part in (
        "teachers: expected",
        "pretrain.a.train: missing",
        "other: unknown",
        "systems: mis",
    ):
        assert part in text


def test_a_teacher_needs_no_file_of_its_own(conf: Path) -> None:
    path = conf / "systems.yaml"
    lines = [
        "teachers:",
        "  changed: {config: t.yaml, set: {layers: [1, 2], combine: mean}}",
        "  merged: [t.yaml, teacher/bert.yaml]",
        "  alone: {set: {kind: speech, model: m, layers: [3], codec.name: fp16}}",
        "recogniser: {config: student.yaml}",
        "systems: {plain: {config: student.yaml}}",
    ]
    path.write_text("\n".join(lines))
    systems = Systems.read(path)
    teachers = {name: one.resolved() for name, one in systems.teachers.items()}
    assert (teachers["changed"].model, teachers["changed"].layers) == ("m", (1, 2))
    assert teachers["merged"].kind == "text"
    assert (teachers["alone"].layers, teachers["alone"].codec) == ((3,), {"name": "fp16"})
    assert systems.recogniser is not None
    paths = systems.recogniser.dump.resolved()
    assert (paths.model, paths.output) == ("exp/recogniser_seed1", "path")
    wrong = ["  odd: {}", "  bad: {set: 3}", "  far: {config: x.yaml}"]
    path.write_text("\n".join([*lines[:3], *wrong]))
    with pytest.raises(UserError) as raised:
        Systems.read(path)
    text = str(raised.value)
    assert "teachers.odd: neither config nor set" in text and "teachers.bad.set: expected" in text
    assert "teachers.far.config: no such file: x.yaml" in text
    path.write_text("\n".join([*lines[:3], "  odd: {set: {kind: speech}}", *lines[5:]]))
    with pytest.raises(UserError, match=r"teachers.odd: model: missing"):
        check_systems(path)


def test_a_teacher_that_nobody_describes_is_named(conf: Path) -> None:
    path = conf / "systems.yaml"
    path.write_text(GOOD.replace("  t: {config: t.yaml", "  u: {config: t.yaml"))
    with pytest.raises(UserError, match="no teacher 't' under `teachers:`"):
        check_systems(path)


@pytest.mark.parametrize(
    "path",
    sorted(EGS.glob("*/asr1/conf/systems*.yaml")),
    ids=lambda p: f"{p.parents[2].name}-{p.stem}",
)
def test_the_files_of_the_recipes_are_read(path: Path) -> None:
    systems = Systems.read(path)
    for training in (*systems.pretrain.values(), *systems.systems.values()):
        assert training.resolved().content["model"]
