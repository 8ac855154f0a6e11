"""Teachers of a user's own class: the documented one works, wrong ones are refused with reasons."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from distill_asr.errors import UserError
from distill_asr.teachers import TeacherConfig, load_teacher

torch = pytest.importorskip("torch")

GUIDE = Path(__file__).parents[2] / "docs/teachers.md"
GOOD = """
import numpy
from distill_asr.teachers import Teacher

class Good(Teacher):
    reads, step_ms, width, min_samples, max_size = "text", None, 2, 0, 9
    fingerprint = "0" * 64

    def __init__(self, device, rows=1, dtype="float32"):
        self.rows, self.dtype = rows, dtype

    def size(self, item):
        return len(item)

    def states(self, items):
        return [numpy.full((self.rows, 2), len(item), self.dtype) for item in items]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Function that makes source a module; gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def load(kind: str, **conf: Any) -> Any:
    return load_teacher(TeacherConfig.from_mapping({"kind": kind, "conf": conf}, "t.yaml"))


def refused(kind: str, **conf: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(kind, **conf)
    return caught.value.problems


def test_the_documented_class(module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From docs/teachers.md as it stands there, its YAML too."""
    section = GUIDE.read_text().partition("## Your own class")[2]
    source, config = re.findall(r"```(?:python|yaml)\n(.*?)```", section, re.DOTALL)
    module(source, "my_teachers")
    assert len([line for line in source.splitlines() if line.strip()]) <= 24
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Conv1d(1, 64, kernel_size=400, stride=320)
    torch.save(network.state_dict(), "my_teacher.pth")
    teacher = load_teacher(TeacherConfig.from_mapping(yaml.safe_load(config), "my_teacher.yaml"))
    assert (teacher.reads, teacher.step_ms, teacher.width) == ("audio", 20.0, 64)
    audio = [np.random.default_rng(n).normal(size=n).astype(np.float32) for n in (400, 720, 5000)]
    assert [teacher.size(item) for item in audio] == [400, 720, 5000]
    for waveform, found in zip(audio, teacher.states(audio), strict=True):
        expected = network(torch.from_numpy(waveform)[None]).T.detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_arguments_reach_the_class(module) -> None:
    teacher = load(f"{module(GOOD, 'own_good')}.Good", rows=3)
    assert teacher.states(["ab"])[0].tolist() == [[2, 2]] * 3
    assert (teacher.max_size, teacher.size("abc")) == (9, 3)


def test_not_importable(module) -> None:
    (problem,) = refused("nowhere_at_all.Teacher")
    assert "t.yaml: kind: 'nowhere_at_all.Teacher' cannot be imported" in problem
    assert "ModuleNotFoundError" in problem and "PYTHONPATH" in problem
    name = module("1 / 0", "own_broken")
    assert "ZeroDivisionError" in refused(f"{name}.Teacher")[0]
    name = module(GOOD, "own_other")
    assert "no attribute 'Godo'" in refused(f"{name}.Godo")[0]
    assert refused(f"{name}.numpy") == [f"t.yaml: kind: '{name}.numpy' is not a class"]


def test_all_that_the_class_lacks_and_all_wrong_arguments(module) -> None:
    source = "class Poor(Teacher):\n    def __init__(self, weights, rows=1): ...\n"
    name = module(f"from distill_asr.teachers import Teacher\n{source}", "own_poor")
    problems = refused(f"{name}.Poor", row=1, device="cpu")
    text = "\n".join(problems)
    assert "own_poor.Poor: has no method `states`; see docs/teachers.md" in text
    assert "has no method `size`" in text
    assert "Poor takes no argument `device`" in text and "docs/teachers.md" in text
    assert "conf.row: Poor takes no such argument; did you mean 'rows'?" in text
    assert "conf.weights: missing" in text and "conf.device: comes from --device" in text
    assert len(problems) == 6


def test_all_attributes_that_are_missing_or_wrong(module) -> None:
    source = GOOD.replace("fingerprint = ", "print = ").replace(
        '"text", None, 2, 0', '"txt", -1, "2", 0'
    )
    problems = refused(f"{module(source, 'own_wrong')}.Good")
    assert [problem.split("`")[1] for problem in problems] == [
        "reads", "step_ms", "width", "fingerprint",
    ]  # fmt: skip
    assert "`reads` is 'txt', expected audio or text or audio+text" in problems[0]
    assert "`fingerprint` is '', expected a SHA-256" in problems[-1]


def test_a_class_that_is_no_teacher(module) -> None:
    name = module(GOOD.replace("(Teacher)", ""), "own_plain")
    (problem,) = refused(f"{name}.Good")
    assert "does not derive from distill_asr.teachers.Teacher" in problem


def test_tokens_reach_whoever_asks(module) -> None:
    source = GOOD.replace("fingerprint", "tokens = ('a', 'b')\n    fingerprint")
    assert load(f"{module(source, 'own_tokens')}.Good").tokens == ("a", "b")


def test_an_attribute_of_a_wrong_type(module) -> None:
    source = GOOD.replace('"text", None', '"text", "20"').replace('"0" * 64', "5")
    problems = refused(f"{module(source, 'own_types')}.Good")
    assert [problem.split("`")[1] for problem in problems] == ["step_ms", "fingerprint"]


def test_a_class_that_objects_to_its_arguments(module) -> None:
    source = GOOD.replace("self.rows, self", "open(rows); self.rows, self")
    (problem,) = refused(f"{module(source, 'own_objects')}.Good", rows="/nowhere")
    assert "t.yaml: kind: own_objects.Good: cannot be built" in problem and "/nowhere" in problem


@pytest.mark.parametrize(
    "change, message",
    [
        (("for item in items]", "for item in items[1:]]"), "gave 1 answers to 2 items"),
        (("self.dtype)", "'float64')"), "gave float64 [1, 2], expected a numpy array float32"),
        (("(self.rows, 2)", "(self.rows, 3)"), "gave float32 [1, 3]"),
        (("(self.rows, 2)", "2"), "gave float32 [2]"),
        (("(self.rows, 2)", "(0, 2)"), "gave float32 [0, 2]"),
        (
            ("numpy.full((self.rows, 2), len(item), self.dtype)", "[1.0, 2.0]"),
            "gave <class 'list'>",
        ),
    ],
)
def test_answers_that_are_not_what_was_promised(module, change: tuple, message: str) -> None:
    teacher = load(f"{module(GOOD.replace(*change), 'own_answers')}.Good")
    with pytest.raises(UserError) as caught:
        teacher.states(["a", "b"])
    assert message in caught.value.problems[0]
