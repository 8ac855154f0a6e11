"""What students compute for chosen utterances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.report.utterances import SetView, most_changed
from distill_asr.scoring.systems import SystemRun


def view(**errors: list[int]) -> SetView:
    runs = {
        SystemRun(system, seed, "test"): [("", "", n) for n in of]
        for system, of in errors.items()
        for seed in (1, 2)
    }
    count = len(next(iter(errors.values())))
    some = [str(i) for i in range(count)]
    return SetView("test", "words", some, some, some, [1.0] * count, [None] * count, runs, {})


def test_half_of_the_chosen_ones_became_better() -> None:
    one = view(plain=[5, 5, 5, 5, 5, 5], taught=[5, 1, 9, 4, 5, 7])
    assert most_changed(one, "plain", "taught", 4) == [1, 2, 3, 5]
    assert most_changed(one, "plain", "taught", 100) == [0, 1, 2, 3, 4, 5]
    assert most_changed(one, "taught", "taught", 2) == [2, 5], "a system alone: most errors"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ctc", "cif", "transducer"])
def test_pictures_of_every_kind_of_student(tmp_path: Path, model: str) -> None:
    from distill_asr.report.pictures import paint, shown_rows
    from distill_asr.testing.recognisers import save_recogniser

    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(16000), 16000)
    exp = save_recogniser(tmp_path / "exp", model)
    found = paint(exp, [("a", str(tmp_path / "a.wav"))])
    if not found:
        assert model != "ctc"
        return
    one = found["a"]
    rows = [*one.probabilities, *([one.weights] if one.weights else [])]
    (frames,) = {len(row) for row in rows}
    assert one.step_ms > 0
    assert len(one.tokens) == len(one.probabilities)
    assert (model == "cif") == bool(one.weights)
    assert all(0 <= frame < frames for frame in one.fires)
    certain = np.eye(4)[[0, 2, 2, 1]]  # blank, c, c, b
    assert shown_rows(certain, ["-", "b", "c", "d"]) == (["c", "b", "-"], [2, 1, 0])
