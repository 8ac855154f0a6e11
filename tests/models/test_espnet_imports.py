"""What ESPnet's start leaves out, and that it comes when it is used."""

import subprocess
import sys


def test_what_a_start_leaves_out() -> None:
    """Each of these costs seconds."""
    heavy = ("transformers.modeling_utils", "torch._dynamo", "scipy.stats", "hydra")
    code = f"""
import sys
import distill_asr.espnet.task
assert not set({heavy}) & set(sys.modules)
import scipy
assert len(scipy.signal.convolve([1, 2], [1, 1])) == 3
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
