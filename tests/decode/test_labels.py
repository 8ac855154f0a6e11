"""Which pseudo-labels are kept: what words are like, and what another recogniser heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.data.datadir import DataDir
from distill_asr.decode.label_dir import COLUMNS, Labelling, disagreements
from distill_asr.decode.labels import Label, LabelLimits
from distill_asr.testing.fixtures import make_prepared_dir

WORDS = st.lists(st.sampled_from("a b c".split()), min_size=1, max_size=4)


@given(WORDS, st.integers(1, 6))
def test_a_loop_is_counted_however_long_its_words(words: list[str], times: int) -> None:
    loop = Label(" ".join(words * times), -0.1)
    assert loop.repeats >= times
    assert Label(f"x {loop.words} y", -0.1).repeats == loop.repeats


@pytest.mark.parametrize(
    ("words", "repeats"),
    [("", 1), ("a", 1), ("a b a b a", 2), ("a a a b", 3), ("a b c d e f " * 4, 1), ("a b b a", 2)],
)
def test_repeats(words: str, repeats: int) -> None:
    assert Label(words, 0.0).repeats == repeats


def test_loops_compress_and_sentences_do_not() -> None:
    assert Label("thank you " * 30, 0.0).compression > 2.4
    assert Label("she put a lock of wavy hair behind her ear and went", 0.0).compression < 1.5


def test_each_limit_drops_what_it_names() -> None:
    limits = LabelLimits(compression=2.4, repeats=3, slowest=2, fastest=25, disagreement=0.2)
    good = Label("she went over the road", -0.1)
    assert limits.faults(good, 2.0, 0.2) == []
    assert limits.faults(good, 20.0, 0.2) == ["too slow"]
    assert limits.faults(good, 0.5, 0.3) == ["too fast", "disagreement"]
    assert limits.faults(Label("no " * 40, -0.1), 10.0, None) == ["compression", "repeats"]
    assert limits.faults(Label("", -0.1), 10.0, None) == ["no words"]
    assert limits.faults(Label("a <unk>", -0.1, finished=False), 1.0, None) == [
        "words with <unk>",
        "no end",
    ]
    assert LabelLimits().faults(Label("no " * 40, -0.1), 100.0, 5.0) == []


def test_bad_limits() -> None:
    assert LabelLimits(2.4, 3, 2, 25, 0.2).problems() == []
    wrong = LabelLimits(0, -1, 30, 20, -0.1).problems()
    assert [problem.split()[0] for problem in wrong] == [
        "--max-compression", "--max-repeats", "--max-disagreement",
    ]  # fmt: skip
    assert LabelLimits(slowest=30, fastest=20).problems() == [
        "--min-rate 30: expected less than --max-rate 20"
    ]


def test_disagreement_is_a_word_error_rate_and_1_where_the_other_heard_nothing() -> None:
    labels = {"u": Label("a b c d", 0), "v": Label("a b", 0), "w": Label("", 0)}
    others = {"u": Label("a x c d", 0), "v": Label("", 0), "w": Label("a", 0)}
    assert disagreements(labels, others) == {"u": 0.25, "v": 1.0}
    assert disagreements({"w": labels["w"]}, others) == {}


def test_the_table_has_every_utterance_with_every_reason(tmp_path) -> None:
    data = DataDir.read(make_prepared_dir(tmp_path / "d", utterances=3))
    good, sure, loop = data.wav
    labels = {good: Label("a b", -0.5), sure: Label("c d", -0.1), loop: Label("no no no", -0.2)}
    faults = {good: [], sure: [], loop: ["repeats"]}
    seconds = dict.fromkeys(labels, 2.0)
    found = Labelling(data, labels, seconds, {loop: 0.5}, faults, [sure])
    header, *rows = [line.split("\t") for line in found.table().splitlines()]
    assert tuple(header) == COLUMNS
    assert [row[1:3] for row in rows] == [["no", "confidence"], ["yes", ""], ["no", "repeats"]]
    assert rows[2][5:] == ["3", "3.00", "0.5000", "no no no"]
    report = found.report(dict.fromkeys(labels, "c d"))
    assert "confidence 1 (0.00 h), repeats 1 (0.00 h)" in report[3]
    assert report[4:] == [
        "WER of the labels: all 83.33 %, kept 0.00 %",
        "CER of the labels: all 100.00 %, kept 0.00 %",
    ]
