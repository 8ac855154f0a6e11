"""Naming a teacher must not wait for torch, and loading one not for ESPnet."""

import subprocess
import sys

MODULES = """
import sys
import distill_asr.teachers
light = {"torch", "espnet2", "transformers"} & set(sys.modules)
import distill_asr.pretrained.families
import distill_asr.teachers.speech, distill_asr.teachers.text
heavy = {"espnet", "espnet2"} & set(sys.modules)
print(sorted(light), sorted(heavy))
"""


def test_modules_import_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] []"
