"""`distill-asr score` on a little experiment tree."""

import json
from pathlib import Path

import pytest

from distill_asr.cli import main
from distill_asr.data.record import RECORD
from distill_asr.io.records import vouched, write_record
from distill_asr.scoring.decoded import DECODED

REFERENCE = {"u1": "the cat sat", "u2": "on the mat"}
HEARD = {
    ("baseline", 1): {"u1": "the bat sat", "u2": "on mat"},
    ("baseline", 2): {"u1": "the cat sat", "u2": "on the hat"},
    ("ours", 1): {"u1": "the cat sat", "u2": "on the mat"},
    ("ours", 2): {"u1": "the cat sat", "u2": ""},
}


def write(path: Path, texts: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{u} {t}\n" for u, t in texts.items()), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for test_set in ("clean", "noisy"):
        write(Path("dump", test_set, "text"), REFERENCE)
        for (system, seed), texts in HEARD.items():
            write(Path("exp", f"{system}_seed{seed}", "decode", test_set, "text"), texts)
    return tmp_path


def score(*more: str) -> int:
    return main(["score", "--systems", "baseline,ours", "--seeds", "1,2", "--sets", "clean,noisy",
                 *more])  # fmt: skip


def test_the_whole_tree(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert score() == 0
    table = capsys.readouterr().out
    page = Path("exp/RESULTS.md").read_text(encoding="utf-8")
    assert page == table and "seeds 1, 2" in page and "95%" in page
    # baseline: 2 and 1 errors in 6 words; ours: none and 3 deletions
    row = table.splitlines()[2]
    assert row.startswith("| baseline | 2 | 25.00 ± 11.79 | 33.33, 16.67 | 16.67 / 0.00 / 8.33 |")
    assert row.endswith("| – |")
    assert table.splitlines()[3].startswith(
        "| ours | 2 | 25.00 ± 35.36 | 0.00, 50.00 | 0.00 / 0.00 / 25.00 |"
    )

    figures = json.loads(Path("exp/RESULTS.json").read_text())
    assert figures["baseline"] == "baseline" and figures["bootstrap"]["resamples"] == 10_000
    ours = next(r for r in figures["results"] if (r["system"], r["set"]) == ("ours", "noisy"))
    against = ours["reductions"]["baseline"]
    assert against["value"] == 0 and ours["seeds"]["1"]["wer"] == 0
    assert against["by_seed"] == [1.0, -2.0] and against["low"] < -2 and not against["claim"]
    assert ours["pooled"]["words"] == {
        "hits": 9, "substitutions": 0, "insertions": 0, "deletions": 3}  # fmt: skip

    run = json.loads(Path("exp/baseline_seed1/decode/clean/score.json").read_text())
    assert run["wer"] == pytest.approx(2 / 6)
    assert run["utterances"]["u2"]["words"] == [2, 0, 0, 1]


def test_twice_gives_the_same_bytes(recipe: Path) -> None:
    score()
    first = {path: path.read_bytes() for path in recipe.rglob("*") if path.is_file()}
    score()
    assert {path: path.read_bytes() for path in recipe.rglob("*") if path.is_file()} == first


def test_gain_over_a_control_too(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    for seed in (1, 2):
        write(Path(f"exp/random_seed{seed}/decode/clean/text"), HEARD["baseline", 1])
    assert main(["score", "--systems", "baseline,random,ours", "--seeds", "1,2",
                 "--sets", "clean", "--control", "random"]) == 0  # fmt: skip
    header, _, base, control, ours, *_ = capsys.readouterr().out.splitlines()
    assert header.endswith("| fewer errors than baseline | fewer errors than random |")
    assert control.endswith("| – |") and base.split("|")[-3].strip() == "–"
    assert "%" in ours.split("|")[-2] and "%" in ours.split("|")[-3]
    results = json.loads(Path("exp/RESULTS.json").read_text())["results"]
    assert [sorted(one["reductions"]) for one in results] == [
        ["random"], ["baseline"], ["baseline", "random"]]  # fmt: skip


def test_noise_floor_of_repeats(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    """The largest difference of a training and its repeat; a repeat is no row."""
    for seed in (1, 2):
        write(Path(f"exp/again_seed{seed}/decode/clean/text"), HEARD["baseline", 1])
    one = ["score", "--systems", "baseline,ours", "--seeds", "1,2", "--sets", "clean"]
    assert main([*one, "--repeat", "again=baseline"]) == 0
    shown = capsys.readouterr().out
    assert "| again |" not in shown and "Noise floor of clean: 100.0 %" in shown, "1 and 2 errors"
    assert json.loads(Path("exp/RESULTS.json").read_text())["noise_floor"] == {"clean": 1.0}
    assert main([*one, "--noise-floor", "7.5"]) == 0
    assert "Noise floor of clean: 7.5 %" in capsys.readouterr().out


def test_speakers_are_drawn(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    texts = {f"u{i}": "the cat sat" for i in range(6)}
    write(Path("dump/clean/text"), texts)
    write(Path("dump/clean/utt2spk"), {u: f"s{i // 2}" for i, u in enumerate(texts)})
    for system in ("baseline", "ours"):
        write(Path(f"exp/{system}_seed1/decode/clean/text"), {**texts, "u1": "the cat"})
    one = ["score", "--systems", "baseline,ours", "--seeds", "1", "--sets", "clean"]
    assert main(one) == 0
    shown = capsys.readouterr().out
    assert "speakers (3 speakers in clean), then utterances" in shown and "no claim" in shown
    write(Path("dump/clean/utt2spk"), {"u0": "s"})
    assert main(one) == 1
    assert "no speaker for 5 utterance(s)" in capsys.readouterr().err


def test_another_baseline_and_place(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert score("--baseline", "ours", "--out", "tables/a.md") == 0
    assert "fewer errors than ours" in capsys.readouterr().out
    assert Path("tables/a.md").exists() and Path("tables/a.json").exists()


def test_lowercase(recipe: Path) -> None:
    shouted = {u: t.upper() for u, t in HEARD["ours", 1].items()}
    write(Path("exp/ours_seed1/decode/clean/text"), shouted)
    figures = Path("exp/ours_seed1/decode/clean/score.json")
    score()
    assert json.loads(figures.read_text())["wer"] == 1.0
    score("--lowercase")
    assert json.loads(figures.read_text())["wer"] == 0.0


def test_every_problem_in_one_report(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    decoded = [
        Path(f"exp/ours_seed{k}/decode/{s}/text") for k in (1, 2) for s in ("clean", "noisy")
    ]
    decoded[0].unlink()
    decoded[1].unlink()
    write(decoded[2], {})
    write(decoded[3], {**REFERENCE, "u9": "who"})
    write(Path("dump/noisy/text"), {**REFERENCE, "u3": ""})
    assert score() == 1
    error = capsys.readouterr().err
    assert f"{decoded[0]}: no such file" in error and f"{decoded[1]}: no such file" in error
    assert f"{decoded[2]}: has no hypothesis" in error
    assert f"{decoded[3]}: no reference for 1 utterance(s) (u9);" in error
    assert "dump/noisy/text: the reference is empty for 1 utterance(s) (u3);" in error
    assert not Path("exp/RESULTS.md").exists()
    assert not list(recipe.rglob("score.json"))


def test_a_reference_without_hypothesis_counts_as_deletions(
    recipe: Path, capsys: pytest.CaptureFixture
) -> None:
    """And says so: on the terminal, below the table, in the figures."""
    lacking = Path("exp/ours_seed1/decode/clean")
    write(lacking / "text", {"u1": "the cat sat"})
    assert score() == 0
    shown = capsys.readouterr()
    line = f"{lacking / 'text'}: no hypothesis for 1 utterance(s) (u2) of 2; counted as deletions"
    assert shown.err == f"warning: {line}\n"
    assert line in Path("exp/RESULTS.md").read_text(encoding="utf-8")
    figures = json.loads((lacking / "score.json").read_text())
    assert figures["without_hypothesis"] == ["u2"]
    assert figures["utterances"]["u2"]["words"] == [0, 0, 0, 3] and figures["wer"] == 0.5


def test_a_missing_reference_is_said_once(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    Path("dump/clean/text").unlink()
    assert score() == 1
    assert capsys.readouterr().err.splitlines() == [
        "distill-asr score: error: 1 problem",
        "missing file: dump/clean/text: no such file; correct the path, or run the command that "
        "writes it",
    ]


def test_arguments_that_do_not_fit(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert score("--baseline", "other", "--out", "exp/r.json", "--control", "none",
                 "--repeat", "ours=what", "--noise-floor", "-1") == 1  # fmt: skip
    error = capsys.readouterr().err
    assert "--noise-floor: -1.0" in error and "--control: none" in error
    assert "--repeat: what" in error and "--repeat: ours is a row" in error
    assert "ours is a row of its own; leave it out of --systems, or out of the repeats" in error
    assert "6 problems" in error and "other is not among --systems" in error and "r.json" in error
    for option, value in [
        ("--seeds", "1,x"),
        ("--systems", "a,a"),
        ("--sets", "clean,"),
        ("--repeat", "a"),
    ]:
        assert score(option, value) == 2
        assert option in capsys.readouterr().err


def test_words_that_are_not_those_of_the_decoding(
    recipe: Path, capsys: pytest.CaptureFixture
) -> None:
    decoded = Path("exp/ours_seed1/decode/clean")
    write_record(decoded / DECODED, {"files": vouched({"text": decoded / "text"})})
    assert score() == 0
    write(decoded / "text", {**HEARD["ours", 1], "u1": "the cat sit"})
    capsys.readouterr()
    assert score() == 1
    said = capsys.readouterr().err
    assert f"{decoded / 'text'}: changed or damaged since it was written" in said
    assert "decode the set again, with --overwrite" in said
    (decoded / DECODED).write_text("{")
    assert score() == 1
    assert f"{decoded / DECODED}: cut short or damaged; decode" in capsys.readouterr().err


def test_references_that_are_not_those_of_the_preparation(
    recipe: Path, capsys: pytest.CaptureFixture
) -> None:
    dump = Path("dump/clean")
    write_record(dump / RECORD, {"settings": {}, "files": vouched({"text": dump / "text"})})
    assert score() == 0
    write(dump / "text", {**REFERENCE, "u1": "the cat sit"})
    assert score() == 1
    assert f"{dump / 'text'}: changed or damaged since" in capsys.readouterr().err


def test_what_preparation_left_out_is_said(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    """On the terminal and below the table: no figure counts it."""
    Path("dump/noisy/filtered").write_text("u8 34.955 over 30.0 s\nu9 0.010 under 0.1 s\n")
    assert score() == 0
    line = "dump/noisy: `distill-asr prepare` left out 2 utterance(s) (u8, u9), which are"
    assert line in capsys.readouterr().err
    assert line in Path("exp/RESULTS.md").read_text(encoding="utf-8")
