"""The measurements of the house find what they count."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_house", ROOT / "tools" / "check_house.py")
house = importlib.util.module_from_spec(spec)
sys.modules["check_house"] = house  # dataclasses look their module up
spec.loader.exec_module(house)

LAYERS = 'layers = [\n    "high : other",  # a comment\n    "low",\n]\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two rooms, one module beside them, one recipe."""
    files = {
        "pyproject.toml": LAYERS,
        "distill_asr/__init__.py": "",
        "distill_asr/loose.py": "def helper(): ...\n",
        "distill_asr/low/__init__.py": "",
        "distill_asr/low/a.py": "from distill_asr.high import b\nimport torch\n",
        "distill_asr/low/c.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from distill_asr.high.b import B\n"
            "def f(x):\n    import torch\n    return getattr(x, 'y', None) or getattr(x, 'z')\n"
        ),
        "distill_asr/high/__init__.py": "",
        "distill_asr/high/b.py": (
            "class B: ...\ndef helper():\n    from distill_asr.low.a import x\n"
        ),
        "distill_asr/high/command.py": (
            "def add_arguments(p): ...\ndef run(a):\n    from distill_asr.low import c\n"
        ),
        "egs/mini/asr1/run.sh": "#!/bin/bash\n# a word\n\nset -e\n",
        "egs/mini/asr1/conf/a.yaml": "a: 1\nb: 2\nc: 3\n",
        "egs/mini/asr1/conf/b.yaml": "a: 1\n",
        "egs/mini/asr1/exp/made/config.yaml": "a: 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_measure(checkout: Path) -> None:
    found = house.measure(checkout).found
    assert found["loose modules (cli, __main__ included)"] == ["distill_asr.loose"]
    assert found["upward imports"] == ["distill_asr.low.a:1: distill_asr.high.b"]
    assert found["upward imports, lazy"] == []
    assert found["upward imports, for types alone"] == ["distill_asr.low.c:3: distill_asr.high.b"]
    assert found["circles of modules"] == []
    circle = ["distill_asr.high.b distill_asr.low.a"]
    assert found["circles of modules, lazy imports included"] == circle
    assert found["lazy imports of other packages outside command modules"] == [
        "distill_asr.low.c:5: torch"
    ]
    assert found["lazy imports of the package outside command modules"] == [
        "distill_asr.high.b:3: distill_asr.low.a"  # not that of the command module
    ]
    assert len(found["getattr and hasattr probes"]) == 1
    assert found["public names defined in several files"] == [
        "helper: distill_asr.high.b, distill_asr.loose"
    ]
    assert len(found["YAML files in egs and conf"]) == 2
    assert found["of these with at most two lines"] == ["egs/mini/asr1/conf/b.yaml"]
    assert found["lines of shell in egs"] == ["egs/mini/asr1/run.sh:4"]


def test_table_of_two(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tmp_path / "before"
    (before / "distill_asr").mkdir(parents=True)
    assert house.main([str(before), str(checkout), "--list"]) == 0
    printed = capsys.readouterr().out
    assert "| upward imports | – | 1 |" in printed  # no layers, nothing to count
    assert "| lines of shell in egs | 0 | 1 |" in printed
    assert "\nupward imports: 1\n    distill_asr.low.a:1: distill_asr.high.b\n" in printed


def test_layers_of_this_repository() -> None:
    layers = house.read_layers(ROOT)
    assert layers[0] == {"errors"}
    assert {"testing"} == layers[-1]
    assert {"train", "train_teacher"} in layers
