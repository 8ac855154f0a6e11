"""What libraries tell their developers does not reach the terminal of stream and export."""

import subprocess
import sys
from pathlib import Path

import pytest

from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.recognisers import save_recogniser

CHUNKED = {
    "encoder": "chunked",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
        "cnn_module_kernel": 3, "chunk_size": 4, "left_frames": 8, "max_chunk": 4,
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stream", "export"])
def test_only_its_own_words(tmp_path: Path, verb: str) -> None:
    pytest.importorskip("onnxruntime")
    exp = save_recogniser(tmp_path / "exp", "transducer", **CHUNKED)
    data = make_prepared_dir(tmp_path / "data", utterances=2)
    first = sorted((data / "wav").glob("*.wav"))[0]
    options = {
        "stream": ["--exp", exp, first],
        "export": ["--to", "onnx", "--exp", exp, "--output", tmp_path / "out", "--wavs", data],
    }[verb]
    command = [sys.executable, "-m", "distill_asr", verb, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert said == []
    own = {"stream": str(first), "export": str(tmp_path / "out")}[verb]
    assert all(line.startswith(own) for line in done.stdout.splitlines()), done.stdout
