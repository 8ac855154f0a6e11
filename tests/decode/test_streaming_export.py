"""``stream --runtime onnx``: an export listens as the student does; checksums."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from talking_student import RATE, STREAMING, silence, student, tones

from distill_asr import cli
from distill_asr.experiments.layout import AVERAGED
from distill_asr.testing.recognisers import save_recogniser


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A streaming student, and what it was exported to."""
    pytest.importorskip("onnxruntime")
    root = tmp_path_factory.mktemp("exported")
    exp = save_recogniser(root / "exp", **STREAMING)
    weights = torch.load(exp / AVERAGED, weights_only=True)
    torch.save({k: student().state_dict().get(k, v) for k, v in weights.items()}, exp / AVERAGED)
    soundfile.write(root / "a.wav", tones(1.5).numpy(), RATE)
    (root / "data").mkdir()
    for name, value in {"wav.scp": str(root / "a.wav"), "text": "a", "utt2spk": "a",
                        "utt2num_samples": str(int(1.5 * RATE))}.items():  # fmt: skip
        (root / "data" / name).write_text(f"a {value}\n")
    (root / "data" / "spk2utt").write_text("a a\n")
    words = ["export", "--to", "onnx", "--streaming", "--exp", str(exp), "--wavs",
             str(root / "data"), "--output", str(root / "out")]  # fmt: skip
    assert cli.main(words) == 0
    return exp, root / "out"


def test_onnx_runtime(exported: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    """The same lines as PyTorch, a token a frame at most, and the report."""
    _, out = exported
    wav = str(out.parent / "b.wav")
    soundfile.write(wav, np.concatenate([tones(2, 1), silence(1.2), tones(1, 2)]), RATE)
    for latency in ([], ["--latency"]):
        capsys.readouterr()
        assert cli.main(["stream", "--exp", str(out), "--runtime", "onnx", wav, *latency]) == 0
        found = capsys.readouterr()
        lines = [line.split("\t") for line in found.out.splitlines()]
        assert [line[2] for line in lines].count("final") >= 2
        heard = [float(line[1]) for line in lines]
        assert heard == sorted(heard) and heard[0] < 1.0 and heard[-1] == pytest.approx(4.2)
    assert "first partial after" in found.err and "real-time factor" in found.err
    from distill_asr.decode.onnx_session import OnnxSession, open_export

    recogniser = open_export(out)
    samples, _ = soundfile.read(wav, dtype="float32")
    texts = set()
    for size in (100, 1600, len(samples)):
        session = OnnxSession(recogniser, endpoint=None)
        results = [one for begin in range(0, len(samples), size)
                   for one in session.push(samples[begin : begin + size])]  # fmt: skip
        results += session.finish()
        texts.add(results[-1].text)
        assert results[-1].times == sorted(results[-1].times)
    assert texts == {recogniser(samples)}


def test_a_changed_export_is_refused(exported: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    _, out = exported
    copied = shutil.copytree(out, tmp_path / "copied")
    (copied / "README.md").write_text("mine")  # decides nothing
    words = ["stream", "--exp", str(copied), "--runtime", "onnx", str(out.parent / "a.wav")]
    assert cli.main(words) == 0
    tokens = (copied / "tokens.txt").read_text()
    for name, content in (("tokens.txt", tokens.replace("a ", "b ")), ("encoder.onnx", "x")):
        (copied / name).write_text(content)
    (copied / "features.npz").unlink()
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    for name in ("tokens.txt: changed", "encoder.onnx: changed", "features.npz: no such file"):
        assert f"{copied}/{name}" in said
    assert said.count("; export it again") == 3


def test_onnx_runtime_is_refused(exported: tuple[Path, Path], capsys, monkeypatch) -> None:
    exp, out = exported
    wav, onnx = str(out.parent / "a.wav"), ["--runtime", "onnx"]
    cases = {
        "export --streaming": ["--exp", str(exp), *onnx],
        "--chunk-size: is an option of": [
            "--exp",
            str(out),
            *onnx,
            "--chunk-size",
            "4",
        ],
        "--form: is an option of --runtime onnx": ["--exp", str(exp), "--form", "int8"],
        "export with --quantize int8": ["--exp", str(out), *onnx, "--form", "int8"],
        "name it with --align-with": [
            "--exp",
            str(out),
            *onnx,
            "--latency",
            "--align-with",
            "none",
        ],
    }
    for message, words in cases.items():
        assert cli.main(["stream", wav, *words]) == 1
        assert message in capsys.readouterr().err
