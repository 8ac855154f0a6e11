"""In CI a test that is skipped without a listed reason fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.xfail
def test_known_to_fail(): assert False

def test_without_gpu(): pytest.skip("needs a CUDA device")
"""


@pytest.mark.parametrize("ci", ["true", ""])
@pytest.mark.parametrize(
    "skipped",
    [
        "def test_skipped(): pytest.skip('no network')",
        "@pytest.mark.skipif(True, reason='no network')\ndef test_skipped(): pass",
        "pytest.skip('no network', allow_module_level=True)",
    ],
    ids=["in the test", "by a mark", "the whole file"],
)
def test_skips(tmp_path: Path, ci: str, skipped: str) -> None:
    (tmp_path / "test_a.py").write_text(f"{TESTS}\n")
    (tmp_path / "test_b.py").write_text(f"import pytest\n{skipped}\n")
    command = [sys.executable, "-m", "pytest", "-p", "distill_asr.testing.skips", "-rs", "."]
    environment = os.environ | {"CI": ci}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    if ci:
        failure = "skipped, which CI counts as a failure: no network"
        assert done.returncode != 0 and failure in done.stdout, done.stdout + done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr
    if "allow_module_level" not in skipped:  # otherwise pytest stops before the tests
        assert "1 xfailed" in done.stdout
        assert "needs a CUDA device" in done.stdout
