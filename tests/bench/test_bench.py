"""Every measurement runs to its report, in sizes so small that its numbers mean nothing."""

import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SIZES = {
    "cif": "--batch 2 --frames 20 --width 8 --tokens 5 --repeats 2",
    "cif_decoding": "--seconds 2 --beam-size 2 --repeats 1",
    "compiled": "--utterances 4 --batch-bins 40000 --repeats 1 --blocks 1 --backend eager",
    "contrastive": "--pairs 300 --negatives 200 --width 64 --repeats 2",
    "dump_memory": "--utterances 4",
    "dump_short": "--clips 4 --plain 2 --shape tiny",
    "dump_speech": "--utterances 3 --parts 1 --shape tiny --dtype float32 --nj 1 --profile",
    "dump_text": "--sentences 4 --parts 1 --dtype float32 --nj 1",
    "greedy": "--utterances 2 --seconds 1 1.5 --batch-size 2 --repeats 1",
    "l2s_step": "--batch 1 --repeats 1",
    "read_targets": "--utterances 4 --seconds 1 1.5 --width 16 --batch 2 --repeats 1",
    "runtime": "--seconds 1 --repeats 1 --blocks 2",
    "scale": "--utterances 4 --times 1 2",
    "startup": "--only=decode,score,--version --repeats 1",
    "step_overhead": "--utterances 4 --seconds 2 2.5 --width 8 --repeats 2",
    "streaming": "--seconds 2 --repeats 1",
    "training_start": "--hours 0.01 --again 0",
    "transport": "--batch 2 --frames 20 --positions 6 --width 8 --repeats 1",
    "transducer_loss": "--batch 2 --frames 20 --tokens 4 --vocabulary 10 --width 8 --repeats 1",
    "updates": "--utterances 4 --seconds 1 1.5 --batch-bins 40000 --repeats 2",
    "whisper_window": "--clips 2 --seconds 1 1.5 --layers 1 --parts 1",
}


NEEDS_AN_EXPERIMENT = {"exported"}  # tests/experiments/export runs the parts that it times
PARTS = {"first_token"}  # of other scripts


def test_every_script_has_a_size() -> None:
    assert set(SIZES) | NEEDS_AN_EXPERIMENT | PARTS == {path.stem for path in BENCH.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(SIZES))
def test_smoke(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """In this process: a start of ESPnet for all of them is enough."""
    monkeypatch.syspath_prepend(BENCH)  # some import from each other
    monkeypatch.setattr(sys, "argv", [script, *SIZES[script].split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH / f"{script}.py"), run_name="__main__")
    assert ended.value.code in (0, 1)  # 1: over its limit, which it may be here
    assert capsys.readouterr().out.strip()
