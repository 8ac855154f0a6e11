"""The size check measures what it says."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_sizes", ROOT / "tools" / "check_sizes.py")
sizes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sizes)


def lines(count: int, indent: str = "    ") -> str:
    return f"{indent}x = 1\n" * count


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_functions_without_their_docstring() -> None:
    source = (
        'def f():\n    """One.\n\n    Two.\n    """\n' + lines(3)
        + "class C:\n    @decorated\n    async def g(self):\n        def h():\n"
        + lines(2, " " * 12)
    )  # fmt: skip
    measured = {name: (n, limit) for name, n, limit in sizes.measure_python(source, "a.py")}
    assert measured == {
        "a.py": (14, 450), "a.py::f": (4, 60), "a.py::C.g": (4, 60), "a.py::C.g.h": (3, 60)
    }  # fmt: skip


def test_functions_in_branches_are_found() -> None:
    source = "if x:\n    def f():\n        pass\nelse:\n    for y in z:\n        def g(): pass\n"
    assert [name for name, _ in sizes.functions(sizes.ast.parse(source))] == ["f", "g"]


def test_init_counts_statements_only() -> None:
    source = '"""Doc."""\n# a comment\n\nfrom a import (\n    b,\n)\n'
    assert list(sizes.measure_python(source, "p/__init__.py")) == [("p/__init__.py", 3, 40)]


@pytest.mark.parametrize("extra", [0, 1])
def test_limits(tmp_path: Path, extra: int) -> None:
    write(tmp_path, "distill_asr/f.py", "def f():\n" + lines(59 + extra))
    write(tmp_path, "tests/long.py", lines(450 + extra, ""))
    write(tmp_path, "bench/__init__.py", lines(40 + extra, ""))
    write(tmp_path, "egs/mini/asr1/run.sh", "x\n" * (40 + extra))
    write(tmp_path, "egs/common/distill.sh", "x\n" * (200 + extra))
    over = [
        "bench/__init__.py: 41 lines, at most 40",
        "distill_asr/f.py::f: 61 lines, at most 60",
        "egs/common/distill.sh: 201 lines, at most 200",
        "egs/mini/asr1/run.sh: 41 lines, at most 40",
        "tests/long.py: 451 lines, at most 450",
    ]
    assert sizes.check(tmp_path, {}) == (over if extra else [])
    assert sizes.main([str(tmp_path)]) == extra


def test_most_functions_are_short(tmp_path: Path) -> None:
    write(tmp_path, "tools/f.py", "".join(f"def f{i}():\n" + lines(45) for i in range(4)))
    assert sizes.check(tmp_path, {}) == ["4 of 4 functions over 40 lines, at most 3%"]


def test_exceptions_excuse_and_expire(tmp_path: Path) -> None:
    write(tmp_path, "tools/f.py", "def f():\n" + lines(60) + "def g():\n" + lines(3))
    excused = {"tools/f.py::f": "a table"}
    assert sizes.check(tmp_path, excused) == []
    idle = sizes.check(tmp_path, {**excused, "tools/f.py::g": "once long"})
    assert idle == ["tools/f.py::g: no longer over its limit, drop the exception"]


def test_every_exception_has_a_reason() -> None:
    assert all(reason.strip() for reason in sizes.EXCEPTIONS.values())
