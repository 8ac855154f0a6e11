"""The table, to the letter."""

import math

import pytest

from distill_asr.scoring.bootstrap import Reduction
from distill_asr.scoring.table import SystemResult, systems_table, table_notes
from distill_asr.scoring.wer import Counts, Edits


def run(*errors: int) -> Edits:
    """Edits of 100 words and 500 characters with so many sub, ins, del."""
    sub, ins, dele = errors
    return Edits(Counts(100 - sub - dele, sub, ins, dele), Counts(500 - sub - dele, sub, ins, dele))


BETTER = Reduction(5 / 17, 0.2, 0.38, (0.25, 0.3, 0.33), 12, (0.25, 0.33))
WORSE = Reduction(-1 / 30, -0.11, 1e-9, (-0.1, 0.05, -0.05), 0, (-0.04, -0.02))
SAME = {seed: run(20, 5, 5) for seed in (1, 2, 3)}
RESULTS = [
    SystemResult("baseline", "clean", {1: run(10, 2, 4), 2: run(12, 2, 4), 3: run(11, 2, 4)}),
    SystemResult("baseline", "noisy", SAME),
    SystemResult(
        "two teachers", "clean", dict.fromkeys((1, 2, 3), run(8, 1, 3)), {"baseline": BETTER}
    ),
    SystemResult("two teachers", "noisy", {**SAME, 1: run(23, 5, 5)}, {"baseline": WORSE}),
]


def test_golden() -> None:
    assert systems_table(RESULTS, ["baseline"]) == (
        "| System | Seeds "
        "| clean WER | each seed | sub / ins / del | CER | fewer errors than baseline "
        "| noisy WER | each seed | sub / ins / del | CER | fewer errors than baseline |\n"
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        "| baseline | 3 "
        "| 17.00 ± 1.00 | 16.00, 18.00, 17.00 | 11.00 / 2.00 / 4.00 | 3.40 ± 0.20 | – "
        "| 30.00 ± 0.00 | 30.00, 30.00, 30.00 | 20.00 / 5.00 / 5.00 | 6.00 ± 0.00 | – |\n"
        "| two teachers | 3 "
        "| 12.00 ± 0.00 | 12.00, 12.00, 12.00 | 8.00 / 1.00 / 3.00 | 2.40 ± 0.00 "
        "| **29.4 %** [20.0, 38.0] "
        "| 31.00 ± 1.73 | 33.00, 30.00, 30.00 | 21.00 / 5.00 / 5.00 | 6.20 ± 0.35 "
        "| -3.3 % [-11.0, 0.0] |\n"
    )


def test_notes_say_what_was_drawn_and_what_a_claim_needs() -> None:
    drawn, needs = table_notes(RESULTS, {})
    assert "of seeds, then speakers (12 speakers in clean), then utterances; in noisy" in drawn
    assert "two teachers against baseline on noisy: about " in needs and "on clean" not in needs


def test_nothing_inside_the_noise_floor_is_bold() -> None:
    floors = {"clean": 0.3}
    assert "**" not in systems_table(RESULTS, ["baseline"], floors)
    _, floor, needs = table_notes(RESULTS, floors)
    assert floor.startswith("Noise floor of clean: 30.0 %")
    assert "two teachers against baseline on clean: inside the noise floor" in needs


def test_one_seed_is_a_look() -> None:
    look = Reduction(0.3, 0.2, 0.4, (0.3,), 0, (0.2, 0.4))
    results = [SystemResult("a", "clean", {7: run(10, 2, 4)}),
               SystemResult("b", "clean", {7: run(10, 2, 4)}, {"a": look})]  # fmt: skip
    rows = systems_table(results, ["a"]).splitlines()
    assert rows[-2] == "| a | 1 | 16.00 | 16.00 | 10.00 / 2.00 / 4.00 | 3.20 | – |"
    assert rows[-1].endswith("| 30.0 % [20.0, 40.0] |"), "not bold"
    drawn, said, needs = table_notes(results, {})
    assert "resamples of utterances;" in drawn
    assert "supports no claim" in said and "b against a on clean: at least 3." in needs


def test_the_control_has_a_column_of_its_own() -> None:
    both = {"a": BETTER, "random": WORSE}
    results = [SystemResult("a", "clean", SAME), SystemResult("b", "clean", SAME, both)]
    header, *_, row = systems_table(results, ["a", "random"]).splitlines()
    assert header.endswith("| fewer errors than a | fewer errors than random |")
    assert row.endswith("| **29.4 %** [20.0, 38.0] | -3.3 % [-11.0, 0.0] |")


@pytest.mark.parametrize(
    ("reduction", "shown"),
    [
        (Reduction(0.5, -math.inf, 1.0), "50.0 % [−∞, 100.0]"),
        (Reduction(-math.inf, -math.inf, 0.0), "–"),
    ],
)
def test_flawless_baselines(reduction: Reduction, shown: str) -> None:
    result = SystemResult("b", "clean", {1: run(1, 0, 0)}, {"a": reduction})
    assert systems_table([result], ["a"]).splitlines()[-1].endswith(f"| {shown} |")
