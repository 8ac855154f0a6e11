"""The table, to the letter."""

import math

import pytest

from distill_asr.scoring.bootstrap import Reduction
from distill_asr.scoring.table import SystemResult, systems_table
from distill_asr.scoring.wer import Counts, Edits


def run(*errors: int) -> Edits:
    """Edits of 100 words and 500 characters with so many sub, ins, del."""
    sub, ins, dele = errors
    return Edits(Counts(100 - sub - dele, sub, ins, dele), Counts(500 - sub - dele, sub, ins, dele))


BETTER, WORSE = Reduction(5 / 17, 0.2, 0.38), Reduction(-1 / 30, -0.11, -1e-9)
RESULTS = [
    SystemResult("baseline", "clean", {1: run(10, 2, 4), 2: run(12, 2, 4)}, None),
    SystemResult("baseline", "noisy", {1: run(20, 5, 5), 2: run(20, 5, 5)}, None),
    SystemResult("two teachers", "clean", {1: run(8, 1, 3), 2: run(8, 1, 3)}, BETTER),
    SystemResult("two teachers", "noisy", {1: run(22, 5, 5), 2: run(20, 5, 5)}, WORSE),
]


def test_golden() -> None:
    assert systems_table(RESULTS, "baseline") == (
        "| System | Seeds "
        "| clean WER | sub / ins / del | CER | fewer errors than baseline "
        "| noisy WER | sub / ins / del | CER | fewer errors than baseline |\n"
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        "| baseline | 2 | 17.00 ± 1.41 | 11.00 / 2.00 / 4.00 | 3.40 ± 0.28 | – "
        "| 30.00 ± 0.00 | 20.00 / 5.00 / 5.00 | 6.00 ± 0.00 | – |\n"
        "| two teachers | 2 | 12.00 ± 0.00 | 8.00 / 1.00 / 3.00 | 2.40 ± 0.00 "
        "| 29.4 % [20.0, 38.0] "
        "| 31.00 ± 1.41 | 21.00 / 5.00 / 5.00 | 6.20 ± 0.28 | -3.3 % [-11.0, 0.0] |\n"
    )


def test_one_seed_has_no_deviation() -> None:
    table = systems_table([SystemResult("a", "clean", {7: run(10, 2, 4)}, None)], "a")
    assert table.splitlines()[-1] == "| a | 1 | 16.00 | 10.00 / 2.00 / 4.00 | 3.20 | – |"


@pytest.mark.parametrize(
    ("reduction", "shown"),
    [
        (Reduction(0.5, -math.inf, 1.0), "50.0 % [−∞, 100.0]"),
        (Reduction(-math.inf, -math.inf, 0.0), "–"),
    ],
)
def test_flawless_baselines(reduction: Reduction, shown: str) -> None:
    result = SystemResult("b", "clean", {1: run(1, 0, 0)}, reduction)
    assert systems_table([result], "a").splitlines()[-1].endswith(f"| {shown} |")
