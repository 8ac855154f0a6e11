"""Choice on dev, comparison on test, means over languages, table and picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr import cli
from distill_asr.scoring.languages import (
    LanguageResult,
    LanguageStudy,
    Layout,
    choose,
    compare_languages,
    improved,
    mean_reduction,
    trend,
)
from distill_asr.scoring.wer import Counts, Edits

WORDS = "a b c d e f g h i j".split()
# wrong words of ten, by language, system and set; hours of training audio
ERRORS = {
    "ka": {"plain": (6, 8), "half": (5, 4), "one": (3, 6)},
    "ta": {"plain": (4, 2), "half": (3, 3), "one": (4, 1)},
}
HOURS = {"ka": 2.0, "ta": 0.1}


def write_text(path: Path, wrong: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("utt " + " ".join(["x"] * wrong + WORDS[wrong:]) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for language, systems in ERRORS.items():
        folder = tmp_path / "langs" / language
        for part in ("dev", "test"):
            write_text(folder / "dump" / part / "text", 0)
        lengths = folder / "dump" / "train" / "utt2num_samples"
        lengths.parent.mkdir(parents=True)
        lengths.write_text(f"utt {int(HOURS[language] * 3600 * 16000)}\n")
        for system, both in systems.items():
            for seed in (1, 2):
                for part, wrong in zip(("dev", "test"), both, strict=True):
                    where = folder / "exp" / f"{system}_seed{seed}" / "decode" / part / "text"
                    write_text(where, wrong)
    return tmp_path


def study(root: Path, **changes: object) -> LanguageStudy:
    layout = Layout(f"{root}/langs/{{language}}/exp", f"{root}/langs/{{language}}/dump")
    plain = {"languages": ["ka", "ta"], "baseline": "plain", "candidates": ["half", "one"]}
    return LanguageStudy(**{**plain, "seeds": [1, 2], "layout": layout, **changes})


def test_the_choice_is_by_dev_whatever_the_test_set_says(root: Path) -> None:
    chosen, rates = choose(study(root))
    assert chosen == {"ka": "one", "ta": "half"}  # on test it would be the other way round
    assert rates["ka"] == {"half": 0.5, "one": 0.3}
    for path in root.glob("langs/*/exp/*/decode/test/text"):
        path.unlink()
    assert choose(study(root))[0] == chosen


def test_of_equal_ones_the_first(root: Path) -> None:
    assert choose(study(root, candidates=["plain", "one"]))[0]["ta"] == "plain"


def test_one_choice_for_all(root: Path) -> None:
    chosen, _ = choose(study(root, together=True))
    assert chosen == {"ka": "one", "ta": "one"}  # 0.35 on average against 0.4


def test_languages_come_by_their_audio_with_the_chosen_scored_on_test(root: Path) -> None:
    few, many = compare_languages(study(root))
    assert (few.language, few.chosen, few.hours) == ("ta", "half", pytest.approx(0.1))
    assert (few.baseline.words.rate, few.system.words.rate) == (0.2, 0.3)
    assert few.reduction == pytest.approx(-0.5) and many.reduction == pytest.approx(0.25)
    assert many.baseline.words.reference == 20, "both seeds"
    assert improved([few, many]) == 1
    assert mean_reduction([few, many]).value == pytest.approx(-0.125)


def test_everything_missing_is_reported_at_once(root: Path) -> None:
    for language in ("ka", "ta"):
        (root / f"langs/{language}/exp/half_seed2/decode/dev/text").unlink()
    with pytest.raises(cli.UserError) as caught:
        choose(study(root))
    assert len(caught.value.problems) == 2


def result(before: int, after: int, hours: float = 1.0) -> LanguageResult:
    edits = [Edits(Counts(100 - n, n), Counts(100 - n, n)) for n in (before, after)]
    return LanguageResult("xx", hours, "one", {}, *edits)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100)), min_size=1, max_size=8))
def test_laws_of_the_mean(pairs: list[tuple[int, int]]) -> None:
    results = [result(*pair) for pair in pairs]
    mean = mean_reduction(results, resamples=200)
    values = [one.reduction for one in results]
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.low <= mean.value + 1e-12 and mean.value <= mean.high + 1e-12
    same = mean_reduction([results[0]] * 5, resamples=50)
    assert same.low == pytest.approx(same.high) == pytest.approx(values[0])


def test_seeds_that_disagree_widen_the_mean() -> None:
    """Of a joint student a seed moves all languages alike."""
    both = [Edits(Counts(100 - n, n), Counts(100 - n, n)) for n in (50, 40, 50)]
    apart = LanguageResult("xx", 1.0, "one", {}, both[0] + both[2], both[1] + both[2],
                           ((both[0], both[1]), (both[2], both[2])))  # fmt: skip
    mean = mean_reduction([apart] * 6, resamples=500)
    assert mean.value == pytest.approx(0.1) and mean.by_seed == pytest.approx((0.2, 0.0))
    assert mean.without_seeds == pytest.approx((0.1, 0.1)) and mean.low < 0 < mean.high


def test_trend_of_the_gain_with_audio() -> None:
    rising = [result(50, 50 - n, hours=n**2) for n in range(1, 7)]
    assert trend(rising) == (pytest.approx(1.0), pytest.approx(0.0))
    assert trend([result(50, 44 + n, hours=n) for n in range(1, 7)])[0] == pytest.approx(-1.0)
    assert trend(rising[:4]) is None, "too few to tell"
    assert trend([result(50, 40, hours=n) for n in range(1, 7)]) is None, "all gain the same"


def test_a_flawless_baseline_cannot_be_improved() -> None:
    assert result(0, 0).reduction == 0.0
    assert result(0, 1).reduction == -float("inf")


def verb(root: Path, *more: str) -> int:
    where = [f"--{part}={root}/langs/{{language}}/{part}" for part in ("exp", "dump")]
    names = ["--languages", "ka,ta", "--baseline", "plain", "--candidates", "half,one"]
    return cli.main(["report", *names, "--seeds", "1,2", *where, *more])


def test_table_figures_and_picture(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert verb(root, "--out", str(root / "REPORT.md")) == 0
    lines = (root / "REPORT.md").read_text().splitlines()
    assert lines[2].startswith("| ta | 6.0 min | 20.00 | 30.00 | -50.0 % |")
    assert lines[3].startswith("| ka | 2.0 h | 80.00 | 60.00 | 25.0 % |")
    assert "in 1 of 2 languages" in lines[5] and "reduction -12.5 %" in lines[5]
    assert capsys.readouterr().out.splitlines()[0] == lines[0]
    written = json.loads((root / "REPORT.json").read_text())
    assert [one["language"] for one in written["languages"]] == ["ta", "ka"]
    assert (root / "REPORT.png").read_bytes().startswith(b"\x89PNG")


def test_the_choice_alone(root: Path) -> None:
    assert verb(root, "--choose", str(root / "chosen")) == 0
    assert (root / "chosen").read_text() == "ka one\nta half\n"
    assert verb(root, "--choose", str(root / "chosen"), "--together") == 0
    assert (root / "chosen").read_text() == "all one\n"


def test_one_joint_student(root: Path, tmp_path: Path) -> None:
    """All languages in one experiment, each with sets of its own."""
    for path in (one for one in root.glob("langs/*/*/**/*") if one.is_file()):
        language, *parts = path.relative_to(root / "langs").parts
        parts[-2] = f"{language}_{parts[-2]}"
        target = tmp_path.joinpath("joint", *parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    sets = {f"{part}_set": f"{{language}}_{part}" for part in ("train", "dev", "test")}
    layout = Layout(f"{tmp_path}/joint/exp", f"{tmp_path}/joint/dump", **sets)
    assert compare_languages(study(root, layout=layout)) == compare_languages(study(root))


def test_wrong_options_are_reported_together(root: Path, capsys: pytest.CaptureFixture) -> None:
    argv = ["report", "--languages", "ka,ta", "--baseline", "plain", "--candidates", "half"]
    assert cli.main([*argv, "--seeds", "1", "--exp", "exp", "--out", "x.png"]) == 1
    found = capsys.readouterr().err
    assert "2 problems" in found and "{language}" in found and "x.png" in found
